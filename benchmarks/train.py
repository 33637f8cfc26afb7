"""Training speed on real code: the archive recipe, TRL at its best, and ours unpacked and packed.

Every contestant trains the embedded model on the same holes of Python's standard library, in the
same process, one after the other in every round; a step holds the holes of one document, and the
first step of a round is not counted.

    python benchmarks/train.py --json FILE [--small] [--holes 8] [--tokens 1024]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from contestants import CONTESTANTS, Measured, held_out_nll
from documents import Workload, build_workload
from machine import describe_machine, package_versions

LINE = "{name:<22}{holes:>9}{cpu:>13}{tokens:>10}{supervised:>12}{memory:>11}{nll:>9}"


@dataclass(frozen=True)
class Row:
    """What a contestant reached at one size of documents."""

    holes_per_document: int
    tokens: int
    contestant: str
    holes_per_second: float
    holes_per_cpu_second: float
    tokens_per_second: float
    supervised_tokens_per_second: float
    peak_memory_mib: float
    held_out_nll: float | None
    token_gain: float
    steps: int


def measure(
    workload: Workload,
    names: Sequence[str],
    *,
    rounds: int,
    seconds: float,
    note: Callable[[Mapping[str, Sequence[Measured]]], None],
) -> None:
    """Run every contestant once a round until the rounds or the seconds are over.

    Every round begins with another contestant, so that none has the quiet times to itself.
    """
    found: dict[str, list[Measured]] = {name: [] for name in names}
    took: dict[str, float] = {}
    began = time.monotonic()
    for number in range(rounds):
        for name in [*names[number % len(names) :], *names[: number % len(names)]]:
            if time.monotonic() - began + took.get(name, 0.0) > seconds:
                continue
            started = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                found[name].append(CONTESTANTS[name](workload, Path(folder)))
            took[name] = time.monotonic() - started
            say(f"  round {number + 1}, {name}: {found[name][-1].holes_per_second:.2f} holes/s")
            note(found)


def rows_of(workload: Workload, found: Mapping[str, Sequence[Measured]]) -> list[Row]:
    """Return the medians."""
    rows = []
    for name, runs in found.items():
        if not runs:
            continue
        steps = [step for run in runs for step in run.step_seconds]
        middle = statistics.median(steps)
        rows.append(
            Row(
                holes_per_document=workload.holes_per_document,
                tokens=workload.max_tokens,
                contestant=name,
                holes_per_second=workload.holes_per_document / middle,
                holes_per_cpu_second=workload.holes_per_document
                / statistics.median(step for run in runs for step in run.cpu_seconds),
                tokens_per_second=runs[-1].tokens_per_step / middle,
                supervised_tokens_per_second=runs[-1].supervised_per_step / middle,
                peak_memory_mib=statistics.median(run.peak_memory_mib for run in runs),
                held_out_nll=runs[-1].held_out_nll,
                token_gain=runs[-1].token_gain,
                steps=len(steps),
            )
        )
    return rows


def all_ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Return the ratios by wall time, and by processor time for a machine that is shared."""
    wall = ratios_of(rows, "holes_per_second")
    cpu = ratios_of(rows, "holes_per_cpu_second")
    return wall | {f"{name}_by_cpu_time": value for name, value in cpu.items()}


def ratios_of(rows: Sequence[Row], speed_name: str) -> dict[str, float]:
    """Return how often each speed is the archive recipe's and TRL's best, by size."""
    ratios: dict[str, float] = {}
    sizes = {(row.holes_per_document, row.tokens) for row in rows}
    for size in sorted(sizes):
        speed = {
            row.contestant: getattr(row, speed_name)
            for row in rows
            if (row.holes_per_document, row.tokens) == size
        }
        best = max((speed[name] for name in speed if name.startswith("trl")), default=None)
        place = f"{size[0]}_holes_{size[1]}_tokens"
        for name in ("ours_none", "ours_bfd", "ours_tree"):
            if name not in speed:
                continue
            for other in ("archive", "archive_bfloat16"):
                if other in speed:
                    ratios[f"{name}_over_{other}_{place}"] = speed[name] / speed[other]
            if best is not None:
                ratios[f"{name}_over_trl_best_{place}"] = speed[name] / best
        if {"ours_none", "ours_tree"} <= speed.keys():
            ratios[f"ours_tree_over_ours_none_{place}"] = speed["ours_tree"] / speed["ours_none"]
    return {name: round(value, 3) for name, value in ratios.items()}


def say(text: str) -> None:
    """Write a line for people."""
    sys.stderr.write(text + "\n")


def show(rows: Sequence[Row]) -> None:
    """Write the table."""
    head = {
        "holes": "holes/s",
        "cpu": "holes/CPU-s",
        "tokens": "tokens/s",
        "supervised": "trained/s",
    }
    say(LINE.format(name="contestant", memory="peak MiB", nll="NLL", **head))
    for row in rows:
        say(
            LINE.format(
                name=row.contestant,
                holes=f"{row.holes_per_second:.2f}",
                cpu=f"{row.holes_per_cpu_second:.2f}",
                tokens=f"{row.tokens_per_second:.0f}",
                supervised=f"{row.supervised_tokens_per_second:.0f}",
                memory=f"{row.peak_memory_mib:.0f}",
                nll="-" if row.held_out_nll is None else f"{row.held_out_nll:.3f}",
            )
        )


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="file for the result")
    parser.add_argument("--small", action="store_true", help="one quick size, one round")
    parser.add_argument("--holes", type=int, default=8, help="holes per document")
    parser.add_argument("--tokens", type=int, default=1024, help="tokens of a row at most")
    parser.add_argument("--suffix-tokens", type=int, default=96, help="tokens of a suffix at most")
    parser.add_argument("--documents", type=int, default=4, help="documents in a round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=400, help="no new round after these")
    parser.add_argument("--no-nll", action="store_true", help="leave out the held-out loss")
    parser.add_argument("--only", nargs="+", choices=sorted(CONTESTANTS), help="some contestants")
    return parser.parse_args()


def main() -> int:
    """Measure one size and write it."""
    arguments = parse_arguments()
    if arguments.small:
        arguments.holes, arguments.tokens, arguments.documents, arguments.rounds = 4, 384, 2, 1
    workload = build_workload(
        holes_per_document=arguments.holes,
        max_tokens=arguments.tokens,
        suffix_tokens=arguments.suffix_tokens,
        num_documents=arguments.documents,
    )
    say(f"{arguments.holes} holes a document, rows of at most {arguments.tokens} tokens: ")
    say(f"  {len(workload.rows)} holes, {workload.num_row_tokens} tokens in rows of their own")
    names = arguments.only or list(CONTESTANTS)
    if arguments.no_nll:
        workload = replace(workload, held_out=())
    facts = {
        "machine": describe_machine(),
        "versions": package_versions(),
        "workload": workload.facts() | {"untrained_held_out_nll": held_out_nll(workload)},
    }
    rows: list[Row] = []

    def note(found: Mapping[str, Sequence[Measured]]) -> None:
        rows[:] = rows_of(workload, found)
        result = facts | {"rows": [vars(row) for row in rows], "ratios": all_ratios(rows)}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    limits = {"rounds": arguments.rounds, "seconds": arguments.seconds}
    measure(workload, names, note=note, **limits)
    show(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
