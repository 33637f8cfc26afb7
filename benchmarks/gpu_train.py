"""Training on one GPU: Unsloth, transformers and transformers with trees, checked and timed.

No hub is needed: a random-weight Qwen3-8B in NF4 with LoRA costs what the real one does. Two parts,
each made to end within minutes on one large GPU, one process a job, kept job by job in the file so
that a second call goes on where the first was stopped:

    python benchmarks/gpu_train.py rows ROWS             on any machine: rows of real code, as ids
    python benchmarks/gpu_train.py check ROWS --json FILE    do all ways learn the same? what fits?
    python benchmarks/gpu_train.py speed ROWS --json FILE    holes per second and peak memory

**check** trains on the same few rows again and again, on four layers. A random model has a loss of
ln(vocabulary) whatever it computes, so losses prove nothing; what it has learned does: the
likelihood of each row's answer afterwards, read without packing by the same code for all. Gradient
norms and the ids of completions are compared as well, and standard output must be empty. Then the
presets take two steps under the memory of an 8, 16 and 24 GB card.
**speed** trains 36 layers on rows of 2,048 ids: documents as the corpus builder makes them
(``built``), and the stretches of the packed benchmark (``constructed``).

``--tiny`` runs the same logic on the CPU with two layers: it proves the script, its figures mean
nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from machine import describe_machine, package_versions

SEED = 3407
MOST_NLL_DIFFERENCE = 0.05
MOST_NORM_DIFFERENCE = 0.01
LEAST_FALL = 0.3
LEAST_EQUAL_IDS = 0.9
WARM_UP_STEPS = 2
SHOWN_ERROR_LINES = 30
JOB_TIMEOUT_SECONDS = 600
HOLES_PER_DOCUMENT = 8
SUFFIX_TOKENS = 96
NUM_DOCUMENTS = 48
NUM_NEW_TOKENS = 16
PROMPT_LENGTHS = (24, 96, 48, 200, 12, 150, 64, 33)
MIB, GB = 2**20, 1e9
HEADS = {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
SIZES = {
    "8b": {"vocab_size": 151_936, "hidden_size": 4096, "intermediate_size": 12_288, **HEADS},
    "4b": {"vocab_size": 151_936, "hidden_size": 2560, "intermediate_size": 9_728, **HEADS},
}
TINY = {
    "vocab_size": 49_152,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}


@dataclass(frozen=True)
class Job:
    """What one process trains.

    Args:
        name: Key of its figures.
        backend: ``transformers`` or ``unsloth``.
        packing: ``none`` or ``tree``.
        size: ``8b`` or ``4b``, the widths of Qwen3 of that size.
        rows: ``few`` (two documents of four holes), ``built``, ``constructed`` or ``full`` (rows
            that fill the budget).
        num_layers: Of the model.
        num_tokens: Most ids of a row.
        num_steps: Optimizer steps; all rows are in each step where they are ``few``.
        rows_per_batch: Rows computed together.
        dtype: Number type.
        learning_rate: Of the steps.
        is_compared: Read likelihoods and complete prompts afterwards.
        card_gb: Memory that the process may take; 0 for all of it.
    """

    name: str
    backend: str
    packing: str = "none"
    rows: str = "few"
    size: str = "8b"
    num_layers: int = 4
    num_tokens: int = 1024
    num_steps: int = 6
    rows_per_batch: int = 2
    dtype: str = "bfloat16"
    learning_rate: float = 1e-3
    is_compared: bool = True
    card_gb: int = 0


def check_jobs() -> tuple[Job, ...]:
    """Return the jobs that show that all ways learn the same, and what fits which card."""
    ways = (
        ("transformers", "none", "bfloat16"),
        ("unsloth", "none", "bfloat16"),
        ("transformers", "tree", "bfloat16"),
        ("transformers", "none", "float16"),
        ("unsloth", "none", "float16"),
    )
    same = [
        Job(f"{backend}, {packing}, {dtype}", backend, packing, dtype=dtype)
        for backend, packing, dtype in ways
    ]
    cards = [
        Job(
            f"{preset} on {card} GB, {backend}",
            backend,
            rows="full",
            size=size,
            num_layers=36,
            num_tokens=tokens,
            num_steps=2,
            rows_per_batch=batch,
            dtype=dtype,
            is_compared=False,
            card_gb=card,
        )
        for preset, card, size, tokens, batch, dtype, backend in (
            ("8gb", 8, "4b", 2048, 1, "bfloat16", "unsloth"),
            ("t4", 16, "8b", 2048, 1, "float16", "unsloth"),
            ("24gb", 24, "8b", 4096, 2, "bfloat16", "unsloth"),
            ("24gb", 24, "8b", 4096, 2, "bfloat16", "transformers"),
        )
    ]
    return (*same, *cards)


def speed_jobs() -> tuple[Job, ...]:
    """Return the jobs that are timed."""
    ways = (("unsloth", "none"), ("transformers", "none"), ("transformers", "tree"))
    return tuple(
        Job(
            f"{backend}, {packing}, {rows}",
            backend,
            packing,
            rows=rows,
            num_layers=36,
            num_tokens=2048,
            num_steps=8,
            rows_per_batch=4,
            is_compared=False,
        )
        for rows in ("built", "constructed")
        for backend, packing in ways
    )


def tiny_jobs(jobs: Sequence[Job]) -> tuple[Job, ...]:
    """Return the jobs that a CPU without Unsloth can take, small."""
    return tuple(
        Job(
            **{
                **asdict(job),
                "num_layers": 2,
                "num_tokens": 512,
                "num_steps": min(job.num_steps, 4),
                "dtype": "float32",
                "learning_rate": 2e-2,
                "card_gb": 0,
            }
        )
        for job in jobs
        if job.backend == "transformers" and job.dtype == "bfloat16"
    )


def write_rows(path: Path, *, num_tokens: int, num_documents: int) -> None:
    """Write rows of real code as ids: built ones of this project's source, and constructed ones."""
    from documents import build_workload

    from fim.config import load_settings
    from fim.pipeline import make_loader, prepare
    from fim.runs import RunFolder

    source = Path(__file__).resolve().parents[1] / "src"
    overrides = {
        "model.max_seq_length": num_tokens,
        "data.middle_reserve_tokens": num_tokens // 8,
        "train.packing": "tree",
    }
    with tempfile.TemporaryDirectory() as place:
        overrides["data.path"] = str(Path(place) / "set")
        build = "from fim.cli.app import main; import sys; main(sys.argv[1:])"
        words = ("data", "build", str(source), "--out", overrides["data.path"])
        subprocess.run([sys.executable, "-c", build, *words], check=True)  # noqa: S603
        settings = load_settings(
            env={}, cwd=Path(place), preset="cpu", overrides=overrides
        ).settings
        run = RunFolder.create_at(Path(place) / "run")
        built = prepare(settings, make_loader(settings), run=run).train_set.rows
    constructed = build_workload(
        holes_per_document=HOLES_PER_DOCUMENT,
        max_tokens=num_tokens,
        suffix_tokens=SUFFIX_TOKENS,
        num_documents=num_documents,
    ).rows
    wanted = num_documents * HOLES_PER_DOCUMENT
    with path.open("w", encoding="utf-8") as stream:
        for kind, rows in (("built", built[:wanted]), ("constructed", constructed)):
            for row in rows:
                facts = {
                    "kind": kind,
                    "ids": row.input_ids,
                    "labels": row.labels,
                    "prompt": row.prompt_length,
                    "document": row.example.document_id,
                }
                stream.write(json.dumps(facts) + "\n")


def read_rows(path: Path, job: Job, vocabulary_tokens: int) -> list[Any]:
    """Return the rows of a job from a file that ``rows`` wrote."""
    from fim.types import Cut, EncodedExample, FimExample

    def row(ids: Sequence[int], labels: Sequence[int], prompt: int, document: str, at: int) -> Any:
        return EncodedExample(
            input_ids=tuple(ids),
            labels=tuple(labels),
            prompt_length=prompt,
            segments=(),
            cut=Cut(),
            example=FimExample("", "", "", id=str(at), document_id=document),
        )

    if job.rows == "full":
        ids = [3 + at % (vocabulary_tokens - 3) for at in range(job.num_tokens)]
        prompt = job.num_tokens * 7 // 8
        labels = [-100] * prompt + ids[prompt:]
        count = job.rows_per_batch * job.num_steps
        return [row(ids, labels, prompt, str(at), at) for at in range(count)]
    kind = "constructed" if job.rows == "few" else job.rows
    found = []
    for at, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        facts = json.loads(line)
        if facts["kind"] == kind and len(facts["ids"]) <= job.num_tokens * 2:
            found.append(row(facts["ids"], facts["labels"], facts["prompt"], facts["document"], at))
    if job.rows == "few":
        half = HOLES_PER_DOCUMENT // 2
        return found[:half] + found[HOLES_PER_DOCUMENT : HOLES_PER_DOCUMENT + half]
    return found[: job.rows_per_batch * 2 * job.num_steps]


def write_model(folder: Path, job: Job, sizes: Mapping[str, int]) -> Path:
    """Write a model with random weights whose answers depend on what it reads, once a depth."""
    target = folder / f"{job.size}-{job.num_layers}-layers"
    if (target / "tokenizer.json").is_file():
        return target
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(SEED)
    is_large = sizes is not TINY
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16 if is_large else torch.float32)
    try:
        with torch.device("cuda" if is_large else "cpu"):
            model = Qwen3ForCausalLM(
                Qwen3Config(
                    **sizes,
                    num_hidden_layers=job.num_layers,
                    max_position_embeddings=40_960,
                    tie_word_embeddings=job.size == "4b",
                )
            )
    finally:
        torch.set_default_dtype(kept)
    model.save_pretrained(target)
    words = {f"t{index}": index for index in range(sizes["vocab_size"])}
    special = {"unk_token": "t0", "eos_token": "t1", "pad_token": "t2"}
    tokenizer = Tokenizer(models.WordLevel(words, special["unk_token"]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(target)
    return target


def train_once(folder: Path, job: Job, rows: Sequence[Any]) -> dict[str, Any]:
    """Train in this process and return what the run's own files and the model afterwards say."""
    import torch

    from fim.config import load_settings
    from fim.formats import FormatRecord
    from fim.model import ModelLoader
    from fim.runs import RunFolder
    from fim.training import Trainer

    steps_rows = len(rows) if job.rows == "few" else max(1, len(rows) // job.num_steps)
    settings = load_settings(
        env={},
        cwd=folder,
        overrides={
            "model.name": str(folder),
            "model.backend": job.backend,
            "model.dtype": job.dtype,
            "model.max_seq_length": 2 * job.num_tokens,
            "model.load_in_4bit": job.dtype != "float32",
            "lora.gradient_checkpointing": job.dtype != "float32",
            "train.packing": job.packing,
            "train.packing_tokens": 4 * job.num_tokens,
            "train.max_steps": job.num_steps,
            "train.num_train_epochs": job.num_steps,
            "train.per_device_train_batch_size": min(job.rows_per_batch, steps_rows),
            "train.gradient_accumulation_steps": max(1, steps_rows // job.rows_per_batch),
            "train.learning_rate": job.learning_rate,
            "train.warmup_ratio": 0.0,
            "train.group_by_length": False,
            "train.optim": "adamw_torch",
        },
    ).settings
    loader = ModelLoader(model=settings.model, lora=settings.lora, hf=settings.hf, seed=SEED)
    loader.check()
    loaded = loader.for_training(loader.load(is_training=True))
    if job.card_gb:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(job.card_gb * GB / total)
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
        compared = afterwards(loaded, result.adapter, rows) if job.is_compared else {}
    later = steps[WARM_UP_STEPS:] or steps
    return {
        "losses": [row["loss"] for row in steps],
        "norms": [row["grad_norm"] for row in steps],
        "holes_per_second": statistics.median(row["holes_per_second"] for row in later),
        "tokens_per_second": statistics.median(row["tokens_per_second"] for row in later),
        "packing": result.packing,
        "token_gain": result.token_gain,
        "peak_memory_mib": result.peak_memory_mib,
        "device": loaded.device,
        **compared,
    }


def afterwards(loaded: Any, adapter: Path, rows: Sequence[Any]) -> dict[str, Any]:
    """Return answers of the model as it was trained, and likelihoods by transformers."""
    from fim.inference.score import score_batch
    from fim.training.generating import ready_to_generate

    with ready_to_generate(loaded, attention="sdpa"):
        during = answers(loaded.model, rows)
    model = loaded.model
    if loaded.backend == "unsloth":
        return {"during": during, "adapter": keep(adapter)}
    model.eval()
    scores = score_batch(model, rows, batch_size=4)
    nll = [score.nll_sum_middle / score.num_middle_tokens for score in scores]
    return {"during": during, "nll": nll}


def keep(adapter: Path) -> str:
    """Copy an adapter out of a run that is about to be deleted."""
    import shutil

    target = Path(tempfile.mkdtemp(prefix="fim-gpu-train-")) / "adapter"
    shutil.copytree(adapter, target)
    return str(target)


def answers(model: Any, rows: Sequence[Any]) -> list[list[int]]:
    """Return greedy ids after prompts of mixed length."""
    from fim.inference.generate import generate_batch
    from fim.inference.sampling import GenerationOptions

    prompts = [
        list(rows[at % len(rows)].input_ids[:length]) for at, length in enumerate(PROMPT_LENGTHS)
    ]
    found = generate_batch(
        model,
        prompts,
        options=GenerationOptions(max_new_tokens=NUM_NEW_TOKENS),
        stop_ids=(),
        pad_id=0,
    )
    return [list(each.ids) for each in found]


def read_adapter(folder: Path, job: Job, adapter: Path, rows: Sequence[Any]) -> dict[str, Any]:
    """Return what transformers answers and scores with an adapter that Unsloth trained."""
    from fim.config import HfSettings, LoraSettings, ModelSettings
    from fim.inference.score import score_batch
    from fim.model import ModelLoader

    loader = ModelLoader(
        model=ModelSettings.model_validate(
            {"name": str(folder), "dtype": job.dtype, "load_in_4bit": job.dtype != "float32"}
        ),
        lora=LoraSettings(),
        hf=HfSettings(),
    )
    loaded = loader.with_adapter(loader.load(), adapter)
    scores = score_batch(loaded.model, rows, batch_size=4)
    nll = [score.nll_sum_middle / score.num_middle_tokens for score in scores]
    return {"answers": answers(loaded.model, rows), "nll": nll}


def agreement(reference: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Tell whether a job has learned what the reference has; every figure is told."""
    nll = max(abs(a - b) for a, b in zip(reference["nll"], other["nll"], strict=True))
    norms = zip(reference["norms"], other["norms"], strict=True)
    norm = max(abs(a - b) / a for a, b in norms)
    fall = other["losses"][0] - other["losses"][-1]
    pairs = [
        one == two
        for mine, theirs in zip(
            other["during"], other.get("answers", reference["during"]), strict=True
        )
        for one, two in zip(mine, theirs, strict=True)
    ]
    ids = sum(pairs) / len(pairs)
    return {
        "agrees": nll <= MOST_NLL_DIFFERENCE
        and norm <= MOST_NORM_DIFFERENCE
        and fall >= LEAST_FALL
        and ids >= LEAST_EQUAL_IDS,
        "nll_difference": nll,
        "norm_difference": norm,
        "fall": fall,
        "equal_ids": ids,
    }


def in_process(task: Mapping[str, Any], *, is_tiny: bool) -> dict[str, Any]:
    """Do a task in a fresh process and return its figures, or the end of what it said.

    The figures come through a file; standard output must stay empty.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        out = Path(place) / "figures.json"
        command = [sys.executable, __file__, "worker", json.dumps({**task, "out": str(out)})]
        answer = subprocess.run(  # noqa: S603
            [*command, *(["--tiny"] if is_tiny else [])],
            capture_output=True,
            text=True,
            timeout=JOB_TIMEOUT_SECONDS,
            check=False,
        )
        if answer.returncode or not out.is_file():
            return {"failed": answer.stderr.strip().splitlines()[-SHOWN_ERROR_LINES:]}
        found = json.loads(out.read_text(encoding="utf-8"))
    return {**found, "stdout": answer.stdout, "seconds": round(time.monotonic() - began, 1)}


def work(task: Mapping[str, Any], *, is_tiny: bool) -> None:
    """Do a task, its figures into the file that it names."""
    from fim.cli.streams import answers_apart

    answers_apart()
    job, folder = Job(**task["job"]), Path(task["model"])
    sizes = TINY if is_tiny else SIZES[job.size]
    rows = read_rows(Path(task["rows"]), job, sizes["vocab_size"])
    if "adapter" in task:
        found = read_adapter(folder, job, Path(task["adapter"]), rows)
    else:
        found = train_once(folder, job, rows)
    Path(task["out"]).write_text(json.dumps(found), encoding="utf-8")


def run_jobs(
    jobs: Sequence[Job], rows: Path, place: Path, kept: dict[str, Any], save: Any, *, is_tiny: bool
) -> dict[str, Any]:
    """Run the jobs that are not done yet, each kept as soon as it ends."""
    for job in jobs:
        if "failed" not in kept.get(job.name, {"failed": ""}):
            continue
        folder = write_model(place, job, TINY if is_tiny else SIZES[job.size])
        task = {"job": asdict(job), "model": str(folder), "rows": str(rows)}
        found = in_process(task, is_tiny=is_tiny)
        if "adapter" in found:
            found |= in_process({**task, "adapter": found["adapter"]}, is_tiny=is_tiny)
        kept[job.name] = {**found, "job": asdict(job)}
        save()
        sys.stderr.write(f"{job.name}: {'failed' if 'failed' in found else 'done'}\n")
    return kept


def summary(part: str, kept: Mapping[str, Any], jobs: Sequence[Job]) -> dict[str, Any]:
    """Return the rows of the table, agreements and ratios."""
    rows = [{"name": job.name, **kept[job.name]} for job in jobs if job.name in kept]
    found: dict[str, Any] = {"rows": rows, "ratios": {}, "agreement": {}}
    for row in rows:
        job = row["job"]
        first = next(
            each
            for each in rows
            if each["job"]["rows"] == job["rows"] and each["job"]["dtype"] == job["dtype"]
        )
        if row is first or "failed" in row or "failed" in first:
            continue
        if part == "check" and job["is_compared"]:
            found["agreement"][row["name"]] = {
                **agreement(first, row),
                "is_stdout_empty": row["stdout"] == "",
            }
        elif part == "speed":
            for figure in ("holes_per_second", "peak_memory_mib"):
                ratio = row[figure] / first[figure]
                found["ratios"][f"{row['name']} to {first['name']}: {figure}"] = ratio
    return found


def show(answer: Mapping[str, Any]) -> None:
    """Write the table."""
    write = sys.stdout.write
    write(f"{'job':<38}{'holes/s':>9}{'tokens/s':>10}{'peak MiB':>10}{'s':>6}\n")
    for row in answer["rows"]:
        write(f"{row['name']:<38}")
        if "failed" in row:
            write("  failed:\n    " + "\n    ".join(row["failed"]) + "\n")
            continue
        write(
            f"{row['holes_per_second']:>9.2f}{row['tokens_per_second']:>10,.0f}"
            f"{row['peak_memory_mib']:>10,.0f}{row['seconds']:>6.0f}\n"
        )
    for name, facts in answer["agreement"].items():
        write(f"{name}: {json.dumps(facts)}\n")


def main() -> None:
    """Run a part of the benchmark, or one job of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("rows", "check", "speed", "worker"))
    parser.add_argument("what", help="file of rows; the task of a worker")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument(
        "--model-dir", type=Path, default=Path(tempfile.gettempdir()) / "fim-gpu-train"
    )
    given = parser.parse_args()
    if given.part == "worker":
        work(json.loads(given.what), is_tiny=given.tiny)
        return
    if given.part == "rows":
        tokens, documents = (512, 3) if given.tiny else (2048, NUM_DOCUMENTS)
        write_rows(Path(given.what), num_tokens=tokens, num_documents=documents)
        return
    if given.json is None:
        parser.error("--json FILE is needed")
    import torch

    if not given.tiny and not torch.cuda.is_available():
        parser.error("there is no CUDA device here; --tiny runs the same logic on the CPU")
    jobs = check_jobs() if given.part == "check" else speed_jobs()
    jobs = tiny_jobs(jobs) if given.tiny else jobs
    before = json.loads(given.json.read_text("utf-8")) if given.json.is_file() else {}
    kept = {row["name"]: row for row in before.get("rows", [])}
    facts = {"machine": describe_machine(), "versions": package_versions()}
    if not given.tiny:
        facts["machine"]["gpu"] = torch.cuda.get_device_name(0)

    def save() -> None:
        answer = {**facts, **summary(given.part, kept, jobs)}
        given.json.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")

    run_jobs(jobs, Path(given.what), given.model_dir, kept, save, is_tiny=given.tiny)
    save()
    show(json.loads(given.json.read_text("utf-8")))


if __name__ == "__main__":
    main()
