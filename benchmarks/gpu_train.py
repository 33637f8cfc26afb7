"""Training on one GPU: Unsloth against transformers on a random-weight Qwen3-8B, NF4 and LoRA.

No hub is needed: speed and memory do not depend on what the weights say. Every contestant runs in a
process of its own, since Unsloth patches libraries as they are imported and memory peaks are of a
process. First three steps of every contestant are compared by their loss; then speed and peak
memory are taken at each length, medians over the steps after the warm-up. A contestant that packs
has passed the run's own check that packed rows equal rows alone.

    python benchmarks/gpu_train.py --json FILE [--tiny] [--model-dir DIR]

``--tiny`` runs the same logic on the CPU with a two-layer model, where only the transformers
backend works: it proves the script, its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machine import describe_machine, package_versions

SEED = 3407
SUPERVISED_SHARE = 0.05
AGREEMENT_STEPS = 3
WARM_UP_STEPS = 2
LOSS_TOLERANCE = 0.02
WORKER_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True)
class Contestant:
    """A backend with a way of packing."""

    backend: str
    packing: str

    @property
    def name(self) -> str:
        """What the table calls it."""
        return f"{self.backend}, {self.packing}" if self.packing != "none" else self.backend


@dataclass(frozen=True)
class Size:
    """What is trained: model dimensions, lengths, rows and steps."""

    config: dict[str, int]
    lengths: tuple[int, ...]
    batch: int
    accumulation: int
    steps: int
    contestants: tuple[Contestant, ...]
    dtype: str


QWEN3_8B = {
    "vocab_size": 151_936,
    "hidden_size": 4096,
    "intermediate_size": 12_288,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
}
TINY = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
ON_GPU = Size(
    config=QWEN3_8B,
    lengths=(1024, 2048, 4096),
    batch=2,
    accumulation=2,
    steps=8,
    contestants=(
        Contestant("transformers", "none"),
        Contestant("unsloth", "none"),
        Contestant("transformers", "bfd"),
    ),
    dtype="bfloat16",
)
ON_CPU = Size(
    config=TINY,
    lengths=(32, 64),
    batch=2,
    accumulation=2,
    steps=4,
    contestants=(Contestant("transformers", "none"), Contestant("transformers", "bfd")),
    dtype="float32",
)


def write_model(folder: Path, size: Size, *, device: str) -> Path:
    """Write a model with random weights, and a tokenizer of its vocabulary's size."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    if (folder / "config.json").is_file():
        return folder
    torch.manual_seed(SEED)
    kept = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, size.dtype))
    try:
        with torch.device(device):
            model = Qwen3ForCausalLM(
                Qwen3Config(
                    **size.config, max_position_embeddings=40_960, tie_word_embeddings=False
                )
            )
    finally:
        torch.set_default_dtype(kept)
    model.save_pretrained(folder)
    words = {f"t{index}": index for index in range(size.config["vocab_size"])}
    special = {"unk_token": "t0", "eos_token": "t1", "pad_token": "t2"}
    tokenizer = Tokenizer(models.WordLevel(words, special["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(folder)
    return folder


def build_rows(num_rows: int, num_tokens: int, vocabulary_tokens: int) -> list[Any]:
    """Return rows of random ids whose last few per cent are trained."""
    from fim.types import IGNORED_LABEL, Cut, EncodedExample, FimExample

    generator = random.Random(f"{SEED}:{num_tokens}")
    num_trained = max(2, round(SUPERVISED_SHARE * num_tokens))
    rows = []
    for at in range(num_rows):
        ids = tuple(generator.randrange(3, vocabulary_tokens) for _ in range(num_tokens))
        prompt = num_tokens - num_trained
        rows.append(
            EncodedExample(
                input_ids=ids,
                labels=(IGNORED_LABEL,) * prompt + ids[prompt:],
                prompt_length=prompt,
                segments=(),
                cut=Cut(),
                example=FimExample("", "", "", id=str(at), document_id=str(at)),
            )
        )
    return rows


def train_once(
    folder: Path, contestant: Contestant, size: Size, *, num_tokens: int, num_steps: int
) -> dict[str, Any]:
    """Train in this process and return what the run's own files say."""
    from fim.config import load_settings
    from fim.formats import FormatRecord
    from fim.model import ModelLoader
    from fim.runs import RunFolder

    settings = load_settings(
        env={},
        cwd=folder,
        overrides={
            "model.name": str(folder),
            "model.backend": contestant.backend,
            "model.dtype": size.dtype,
            "model.max_seq_length": num_tokens,
            "data.middle_reserve_tokens": num_tokens // 8,
            "infer.max_new_tokens": 8,
            "eval.max_new_tokens": 8,
            "train.packing": contestant.packing,
            "train.max_steps": num_steps,
            "train.per_device_train_batch_size": size.batch,
            "train.gradient_accumulation_steps": size.accumulation,
            "train.learning_rate": 1e-4,
            "train.group_by_length": False,
        },
    ).settings
    loader = ModelLoader(model=settings.model, lora=settings.lora, hf=settings.hf, seed=SEED)
    loader.check()
    loaded = loader.for_training(loader.load())
    from fim.training import Trainer

    record = FormatRecord(
        name="psm",
        version=1,
        family="random",
        order="psm",
        anchor_lines=0,
        token_ids={"t1": 1},
        end_id=1,
        stop_ids=(1,),
        fingerprint="random",
    )
    num_rows = size.batch * size.accumulation * num_steps
    rows = build_rows(num_rows, num_tokens, size.config["vocab_size"])
    with tempfile.TemporaryDirectory() as place:
        run = RunFolder.create_at(Path(place) / "run")
        result = Trainer(
            loaded=loaded,
            train_rows=rows,
            eval_rows=(),
            settings=settings.train,
            run=run,
            format_record=record,
            fingerprints={},
        ).train()
        steps = [row for row in run.read_metrics() if "loss" in row]
    later = steps[WARM_UP_STEPS:] or steps
    return {
        "contestant": contestant.name,
        "backend": loaded.backend,
        "packing": result.packing,
        "tokens": num_tokens,
        "losses": [row["loss"] for row in steps],
        "tokens_per_second": statistics.median(float(r["tokens_per_second"]) for r in later),
        "supervised_tokens_per_second": statistics.median(
            float(r["supervised_tokens_per_second"]) for r in later
        ),
        "peak_memory_mib": result.peak_memory_mib,
        "device": loaded.device,
    }


def in_process(
    folder: Path, contestant: Contestant, *, num_tokens: int, num_steps: int, is_tiny: bool
) -> dict[str, Any]:
    """Train in a fresh process and return its figures, or why there are none."""
    work = {**asdict(contestant), "num_tokens": num_tokens, "num_steps": num_steps}
    command = [sys.executable, __file__, "--worker", json.dumps(work), "--model-dir", str(folder)]
    answer = subprocess.run(  # noqa: S603
        [*command, *(["--tiny"] if is_tiny else [])],
        capture_output=True,
        text=True,
        timeout=WORKER_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        return {"contestant": contestant.name, "tokens": num_tokens, "failed": last}
    return dict(json.loads(answer.stdout.strip().splitlines()[-1]))


def agreement(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return how far the losses of every contestant lie from the first one's."""
    reference, *others = rows
    found = {}
    for row in others:
        if "losses" not in row or "losses" not in reference:
            found[row["contestant"]] = {"agrees": False, "failed": row.get("failed", "reference")}
            continue
        pairs = zip(reference["losses"], row["losses"], strict=True)
        worst = max(abs(mine - other) / abs(mine) for mine, other in pairs)
        found[row["contestant"]] = {"agrees": worst <= LOSS_TOLERANCE, "relative": worst}
    return {"reference": reference["contestant"], "tolerance": LOSS_TOLERANCE, **found}


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Write the table."""
    write = sys.stdout.write
    write(f"{'contestant':<22}{'length':>8}{'tokens/s':>12}{'trained/s':>12}{'peak MiB':>12}\n")
    for row in rows:
        if "failed" in row:
            write(f"{row['contestant']:<22}{row['tokens']:>8}  failed: {row['failed']}\n")
            continue
        write(
            f"{row['contestant']:<22}{row['tokens']:>8}{row['tokens_per_second']:>12,.0f}"
            f"{row['supervised_tokens_per_second']:>12,.0f}{row['peak_memory_mib']:>12,.0f}\n"
        )


def run_all(size: Size, folder: Path, *, is_tiny: bool) -> dict[str, Any]:
    """Compare losses, then measure every contestant at every length."""
    first = [
        in_process(
            folder, each, num_tokens=size.lengths[0], num_steps=AGREEMENT_STEPS, is_tiny=is_tiny
        )
        for each in size.contestants
    ]
    rows = [
        in_process(folder, each, num_tokens=length, num_steps=size.steps, is_tiny=is_tiny)
        for length in size.lengths
        for each in size.contestants
    ]
    base = {row["tokens"]: row for row in rows if row["contestant"] == rows[0]["contestant"]}
    ratios = {
        f"{row['contestant']} at {row['tokens']}: {figure}": row[figure]
        / base[row["tokens"]][figure]
        for row in rows
        if row["contestant"] != rows[0]["contestant"] and "failed" not in row
        for figure in ("tokens_per_second", "peak_memory_mib")
        if figure in base[row["tokens"]]
    }
    return {"agreement": agreement(first), "rows": rows, "ratios": ratios}


def main() -> None:
    """Run the benchmark, or one contestant of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--model-dir", type=Path)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = ON_CPU if given.tiny else ON_GPU
    if given.worker:
        work = json.loads(given.worker)
        contestant = Contestant(work.pop("backend"), work.pop("packing"))
        found = train_once(given.model_dir, contestant, size, **work)
        sys.stdout.write(json.dumps(found) + "\n")
        return
    if given.json is None:
        parser.error("--json FILE is needed")
    import torch

    if not given.tiny and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --tiny runs the same logic on the CPU")
    device = "cpu" if given.tiny else "cuda"
    with tempfile.TemporaryDirectory() as place:
        folder = write_model(given.model_dir or Path(place) / "model", size, device=device)
        answer = run_all(size, folder, is_tiny=given.tiny)
    gpu = {} if given.tiny else {"gpu": torch.cuda.get_device_name(0)}
    answer = {"machine": {**describe_machine(), **gpu}, "versions": package_versions(), **answer}
    given.json.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
    show(answer["rows"])
    sys.stdout.write(json.dumps(answer["agreement"]) + "\n")


if __name__ == "__main__":
    main()
