"""Training on one GPU: Unsloth against transformers on a random-weight Qwen3-8B, NF4 and LoRA.

No hub is needed: speed and memory do not depend on what the weights say. Every contestant runs in a
process of its own, since Unsloth patches libraries as they are imported and memory peaks are of a
process. First three steps of every contestant are compared by their loss; then speed and peak
memory are taken at each length on rows of random ids, and on stretches of real files with 8 and 16
holes each, where trees share what rows have in common. Figures are medians over the steps after the
warm-up. A contestant that packs has passed the run's own check that packed rows equal rows alone.
The ids of real code are those of the embedded model's tokenizer; the vocabulary here holds them.

Utilisation counts two passes (forward, and backward to the inputs: the base is frozen) of two
operations for each weight of the layers and computed token; attention and what checkpointing
computes again are left out.

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
SUFFIX_TOKENS = 96
PASSES = 2
OPERATIONS_PER_WEIGHT = 2
DENSE_BFLOAT16_OPERATIONS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
}


@dataclass(frozen=True)
class Contestant:
    """A backend with a way of packing, with Liger's kernels or without."""

    backend: str
    packing: str
    has_liger: bool = False

    @property
    def name(self) -> str:
        """What the table calls it."""
        name = f"{self.backend}, {self.packing}" if self.packing != "none" else self.backend
        return f"{name}, liger" if self.has_liger else name


@dataclass(frozen=True)
class Size:
    """What is trained: model dimensions, lengths, rows and steps."""

    config: dict[str, int]
    lengths: tuple[int, ...]
    documents: tuple[tuple[int, int], ...]
    batch: int
    accumulation: int
    steps: int
    contestants: tuple[Contestant, ...]
    document_contestants: tuple[Contestant, ...]
    dtype: str


@dataclass(frozen=True)
class Work:
    """What one process trains: ``holes`` a document of real code; 0 takes rows of random ids."""

    num_tokens: int
    num_steps: int
    holes: int = 0


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
    "vocab_size": 49_152,
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
    documents=((2048, 8), (2048, 16), (4096, 8), (4096, 16)),
    batch=2,
    accumulation=2,
    steps=8,
    contestants=(
        Contestant("transformers", "none"),
        Contestant("unsloth", "none"),
        Contestant("transformers", "bfd"),
        Contestant("transformers", "bfd", has_liger=True),
    ),
    document_contestants=(
        Contestant("unsloth", "none"),
        Contestant("transformers", "bfd"),
        Contestant("transformers", "tree"),
    ),
    dtype="bfloat16",
)
ON_CPU = Size(
    config=TINY,
    lengths=(32, 64),
    documents=((512, 8),),
    batch=2,
    accumulation=2,
    steps=4,
    contestants=(Contestant("transformers", "none"), Contestant("transformers", "bfd")),
    document_contestants=(Contestant("transformers", "bfd"), Contestant("transformers", "tree")),
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


def rows_of(work: Work, size: Size, accumulation: int) -> list[Any]:
    """Return the rows of some work: documents of real code, or random ids."""
    num_rows = size.batch * accumulation * work.num_steps
    if not work.holes:
        return build_rows(num_rows, work.num_tokens, size.config["vocab_size"])
    from documents import build_workload

    workload = build_workload(
        holes_per_document=work.holes,
        max_tokens=work.num_tokens,
        suffix_tokens=SUFFIX_TOKENS,
        num_documents=num_rows // work.holes,
    )
    return list(workload.rows)


def utilisation(tokens_per_second: float, size: Size, device_name: str) -> float | None:
    """Return the share of a GPU's dense bfloat16 rate that the layers' products take."""
    known = [rate for name, rate in DENSE_BFLOAT16_OPERATIONS.items() if name in device_name]
    if not known:
        return None
    config = size.config
    attended = config["num_attention_heads"] * config["head_dim"]
    kept = config["num_key_value_heads"] * config["head_dim"]
    layer = config["hidden_size"] * (2 * attended + 2 * kept + 3 * config["intermediate_size"])
    operations = PASSES * OPERATIONS_PER_WEIGHT * layer * config["num_hidden_layers"]
    return tokens_per_second * operations / known[0]


def train_once(folder: Path, contestant: Contestant, size: Size, work: Work) -> dict[str, Any]:
    """Train in this process and return what the run's own files say."""
    from fim.config import load_settings
    from fim.formats import FormatRecord
    from fim.model import ModelLoader
    from fim.runs import RunFolder

    num_tokens, num_steps = work.num_tokens, work.num_steps
    accumulation = work.holes or size.accumulation
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
            "train.use_liger_kernel": contestant.has_liger,
            "train.max_steps": num_steps,
            "train.per_device_train_batch_size": size.batch,
            "train.gradient_accumulation_steps": accumulation,
            "train.learning_rate": 1e-4,
            "train.group_by_length": False,
        },
    ).settings
    loader = ModelLoader(model=settings.model, lora=settings.lora, hf=settings.hf, seed=SEED)
    loader.check()
    loaded = loader.for_training(loader.load(is_training=True))
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
    rows = rows_of(work, size, accumulation)
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

    def median(figure: str) -> float:
        return statistics.median(float(row[figure]) for row in later)

    import torch

    gpu = torch.cuda.get_device_name(0) if loaded.device.startswith("cuda") else ""
    return {
        "contestant": contestant.name,
        "backend": loaded.backend,
        "packing": result.packing,
        "tokens": num_tokens,
        "holes": work.holes,
        "token_gain": result.token_gain,
        "losses": [row["loss"] for row in steps],
        "holes_per_second": median("holes_per_second"),
        "tokens_per_second": median("tokens_per_second"),
        "supervised_tokens_per_second": median("supervised_tokens_per_second"),
        "utilisation": utilisation(median("tokens_per_second"), size, gpu),
        "peak_memory_mib": result.peak_memory_mib,
        "device": loaded.device,
    }


def in_process(
    folder: Path, contestant: Contestant, work: Work, *, is_tiny: bool
) -> dict[str, Any]:
    """Train in a fresh process and return its figures, or why there are none."""
    task = json.dumps({"contestant": asdict(contestant), "work": asdict(work)})
    command = [sys.executable, __file__, "--worker", task, "--model-dir", str(folder)]
    answer = subprocess.run(  # noqa: S603
        [*command, *(["--tiny"] if is_tiny else [])],
        capture_output=True,
        text=True,
        timeout=WORKER_TIMEOUT_SECONDS,
        check=False,
    )
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no message"])[-1]
        facts = {"tokens": work.num_tokens, "holes": work.holes}
        return {"contestant": contestant.name, **facts, "failed": last}
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
    names = ("length", "holes", "holes/s", "tokens/s", "utilised", "peak MiB")
    write(f"{'contestant':<26}" + "".join(f"{name:>9}" for name in names) + "\n")
    for row in rows:
        write(f"{row['contestant']:<26}{row['tokens']:>9}{row['holes'] or '':>9}")
        if "failed" in row:
            write(f"  failed: {row['failed']}\n")
            continue
        share = row["utilisation"]
        write(
            f"{row['holes_per_second']:>9.2f}{row['tokens_per_second']:>9,.0f}"
            f"{'' if share is None else f'{share:.0%}':>9}{row['peak_memory_mib']:>9,.0f}\n"
        )


def run_all(size: Size, folder: Path, *, is_tiny: bool) -> dict[str, Any]:
    """Compare losses, then measure every contestant at every length and on every document."""
    agreeing = Work(size.lengths[0], AGREEMENT_STEPS)
    first = [in_process(folder, each, agreeing, is_tiny=is_tiny) for each in size.contestants]
    tasks = [
        (each, Work(length, size.steps)) for length in size.lengths for each in size.contestants
    ]
    tasks += [
        (each, Work(length, size.steps, holes))
        for length, holes in size.documents
        for each in size.document_contestants
    ]
    rows = [in_process(folder, each, work, is_tiny=is_tiny) for each, work in tasks]
    return {"agreement": agreement(first), "rows": rows, "ratios": ratios_of(rows)}


def ratios_of(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return how every contestant compares with the first one on the same work."""
    base: dict[tuple[int, int], dict[str, Any]] = {}
    ratios = {}
    for row in rows:
        first = base.setdefault((row["tokens"], row["holes"]), row)
        if row is first or "failed" in row or "failed" in first:
            continue
        what = f"{row['contestant']} to {first['contestant']} at {row['tokens']}"
        what += f", {row['holes']} holes" if row["holes"] else ""
        for figure in ("holes_per_second", "tokens_per_second", "peak_memory_mib"):
            ratios[f"{what}: {figure}"] = row[figure] / first[figure]
    return ratios


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
        task = json.loads(given.worker)
        contestant, work = Contestant(**task["contestant"]), Work(**task["work"])
        found = train_once(given.model_dir, contestant, size, work)
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
