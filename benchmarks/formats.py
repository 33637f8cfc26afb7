"""Which format learns fastest: the same holes, the same steps, one model, with intervals.

Every format trains the embedded model from the same start on the same holes in the same order for
the same number of steps, and is then scored on the same held-out holes by its own prompts. Other
formats are compared with the first one, hole by hole, in a paired bootstrap over files.

    python benchmarks/formats.py --json FILE [--small] [--steps N] [--held-out N] [--formats A,B]

A format is a name, with ``+N`` for N anchor lines: ``psm+4``. With ``--results DIR`` the scores of
a format are kept and taken from there next time, so that a long run may be done in pieces.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from machine import describe_machine, package_versions

from fim.bookkeeping import open_run
from fim.config import ResolvedSettings, load_settings
from fim.corpus import stdlib_root
from fim.evaluation import EvaluationResult, compare, read_samples, result_of, write_samples
from fim.gathering import EMBEDDED_CORPUS_SOURCE, Examples, build_examples
from fim.pipeline import fit, load_for_training, make_loader, prepare
from fim.quickstart.contestants import score_tuned

FORMATS = ("psm+4", "chatml", "psm", "spm")
METRICS = ("nll_per_token", "exact_match", "edit_similarity", "stop_rate")


@dataclass(frozen=True)
class Size:
    """How much is trained and measured."""

    steps: int
    batch: int
    held_out: int


FULL = Size(steps=80, batch=8, held_out=200)
SMALL = Size(steps=2, batch=2, held_out=4)


@dataclass(frozen=True)
class Row:
    """What a format reached, and how far from the first format's it lies (low and high: 95 %)."""

    format: str
    steps: int
    holes: int
    tokens: int
    supervised_tokens: int
    seconds: float
    held_out: int
    metrics: Mapping[str, float]
    differences: Mapping[str, Mapping[str, float]]


def resolve(name: str, size: Size) -> ResolvedSettings:
    """Return the settings of one format."""
    format_name, _, anchor = name.partition("+")
    return load_settings(
        preset="cpu",
        overrides={
            "data.format": format_name,
            "data.anchor_lines": int(anchor or 0),
            "data.align_cuts": False,
            "data.prompt_loss_share": 0.0,
            "infer.token_healing": False,
            "infer.stop": "none",
            "data.max_examples": size.steps * size.batch,
            "eval.num_holes": size.held_out,
            "train.max_steps": size.steps,
            "train.max_minutes": None,
            "train.packing": "none",
            "train.per_device_train_batch_size": size.batch,
            "train.gradient_accumulation_steps": 1,
        },
    )


def measure(
    name: str, size: Size, examples: Examples, results: Path
) -> tuple[EvaluationResult, dict[str, float]]:
    """Train one format and score it, or take its kept scores."""
    kept, facts_file = results / f"{name}.jsonl", results / f"{name}.json"
    if kept.is_file() and facts_file.is_file():
        return result_of(name, read_samples(kept)), json.loads(facts_file.read_text())
    resolved = resolve(name, size)
    loader = make_loader(resolved.settings)
    loader.check()
    with tempfile.TemporaryDirectory() as folder:
        run = open_run(resolved, Path(folder) / "run")
        prepared = prepare(resolved.settings, loader, run=run, examples=examples)
        adapted = load_for_training(prepared)
        began = time.monotonic()
        fit(adapted, prepared, run=run)
        facts = {
            "seconds": time.monotonic() - began,
            "holes": len(prepared.train_set.rows),
            "tokens": prepared.train_set.num_tokens,
            "supervised_tokens": prepared.train_set.num_supervised_tokens,
        }
        result = replace(score_tuned(adapted, prepared, progress=None), name=name)
    results.mkdir(parents=True, exist_ok=True)
    write_samples(kept, result.samples)
    facts_file.write_text(json.dumps(facts), encoding="utf-8")
    return result, facts


def row_of(
    size: Size, first: EvaluationResult, result: EvaluationResult, facts: Mapping[str, float]
) -> Row:
    """Return a format's line of the table."""
    compared = compare(first, result).metrics if result is not first else {}
    return Row(
        format=result.name,
        steps=size.steps,
        holes=int(facts["holes"]),
        tokens=int(facts["tokens"]),
        supervised_tokens=int(facts["supervised_tokens"]),
        seconds=facts["seconds"],
        held_out=len(result.samples),
        metrics={name: result.metrics[name] for name in METRICS if name in result.metrics},
        differences={name: compared[name].as_json() for name in METRICS if name in compared},
    )


def show(rows: Sequence[Row]) -> None:
    """Write the table."""
    write = sys.stdout.write
    write(f"{'format':<10}{'seconds':>9}{'tokens':>9}" + "".join(f"{m:>18}" for m in METRICS))
    for row in rows:
        write(f"\n{row.format:<10}{row.seconds:>9.0f}{row.tokens:>9}")
        write("".join(f"{row.metrics.get(name, float('nan')):>18.3f}" for name in METRICS))
        for name, found in row.differences.items():
            write(
                f"\n{'':<12}{name}: {found['difference']:+.3f} "
                f"({found['low']:+.3f} to {found['high']:+.3f}) against {rows[0].format}"
            )
    write("\n")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--held-out", type=int)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--results", type=Path)
    given = parser.parse_args()
    size = SMALL if given.small else FULL
    size = replace(size, steps=given.steps or size.steps, held_out=given.held_out or size.held_out)
    names = given.formats.split(",")
    with tempfile.TemporaryDirectory() as folder:
        settings = resolve(names[0], size).settings
        examples = build_examples(
            (stdlib_root(),),
            settings,
            out=Path(folder) / "data",
            source=EMBEDDED_CORPUS_SOURCE,
            progress=None,
        )
        results = given.results or Path(folder) / "results"
        measured = [measure(name, size, examples, results) for name in names]
    first = measured[0][0]
    rows = [row_of(size, first, result, facts) for result, facts in measured]
    answer = {
        "machine": describe_machine(),
        "versions": package_versions(),
        "rows": [asdict(row) for row in rows],
        "ratios": {
            f"{row.format} {name}": found["difference"]
            for row in rows
            for name, found in row.differences.items()
        },
    }
    given.json.write_text(json.dumps(answer, indent=2) + "\n", encoding="utf-8")
    show(rows)


if __name__ == "__main__":
    main()
