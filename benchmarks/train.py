"""Training speed on real code: the archive recipe, TRL at its best, and ours unpacked and packed.

Every contestant trains the embedded model on the same holes of Python's standard library, in the
same process, one after the other in every round; a step holds the holes of one document, and the
first step of a round is not counted.

    python benchmarks/train.py --json FILE [--small] [--holes 8] [--tokens 1024]
    python benchmarks/train.py --json FILE --table [--rounds 3] [--plots docs/images]

The table measures trees at 2, 4, 8 and 16 holes and 512, 1024 and 2048 tokens. What the others
need for a hole does not depend on how many a document has, so they are measured once for each
length, on ``REFERENCE_HOLES`` holes of every document.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from contestants import CONTESTANTS, Measured, held_out_nll
from documents import Workload, build_workload
from growth import plot_growth
from machine import describe_machine, package_versions

TABLE_TOKENS = (512, 1024, 2048)
TABLE_HOLES = (2, 4, 8, 16)
REFERENCE_HOLES = 4
REFERENCES = ("archive", "archive_bfloat16", "ours_none", "ours_bfd")
TABLE_REFERENCES = ("archive", "trl_padded", "trl_padding_free", "ours_none", "ours_bfd")
SMALL_SIZE = (4, 384, 1)
LINE = "{size:<10}{name:<22}{holes:>9}{cpu:>13}{tokens:>10}{supervised:>12}{memory:>11}{nll:>9}"


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


Runs = dict[str, list[Measured]]


@dataclass
class Cell:
    """A size of documents with who is measured on it and what they reached so far."""

    workload: Workload
    names: Sequence[str]
    found: Runs = field(default_factory=dict)


def measure(
    cells: Sequence[Cell], *, rounds: int, seconds: float, note: Callable[[], None]
) -> None:
    """Run every contestant of every cell once a round until the rounds or the seconds are over.

    Every round begins with another contestant, so that none has the quiet times to itself.
    """
    jobs = [(cell, name) for cell in cells for name in cell.names]
    took: dict[int, float] = {}
    began = time.monotonic()
    for number in range(rounds):
        first = number % len(jobs)
        for at in [*range(first, len(jobs)), *range(first)]:
            if time.monotonic() - began + took.get(at, 0.0) > seconds:
                continue
            cell, name = jobs[at]
            started = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                run = CONTESTANTS[name](cell.workload, Path(folder))
            cell.found.setdefault(name, []).append(run)
            took[at] = time.monotonic() - started
            size = f"{cell.workload.holes_per_document} x {cell.workload.max_tokens}"
            say(f"  round {number + 1}, {name}, {size}: {run.holes_per_second:.2f} holes/s")
            note()


def rows_of(cell: Cell) -> list[Row]:
    """Return the medians."""
    rows, workload = [], cell.workload
    for name, runs in cell.found.items():
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
    """Return how often each of our speeds is the others' at the same length of rows."""
    ratios: dict[str, float] = {}
    for row in rows:
        if not row.contestant.startswith("ours"):
            continue
        others = {
            other.contestant: float(getattr(other, speed_name))
            for other in rows
            if other.tokens == row.tokens and other.contestant != row.contestant
        }
        trl = [speed for name, speed in others.items() if name.startswith("trl")]
        wanted = {name: others[name] for name in REFERENCES if name in others}
        if trl:
            wanted["trl_best"] = max(trl)
        speed = float(getattr(row, speed_name))
        place = f"{row.holes_per_document}_holes_{row.tokens}_tokens"
        for name, other in wanted.items():
            ratios[f"{row.contestant}_over_{name}_{place}"] = round(speed / other, 3)
    return ratios


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
    say(LINE.format(size="size", name="contestant", memory="peak MiB", nll="NLL", **head))
    for row in rows:
        say(
            LINE.format(
                size=f"{row.holes_per_document} x {row.tokens}",
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
    parser.add_argument("--table", action="store_true", help="every size, others once a length")
    parser.add_argument("--plots", type=Path, help="folder for the plots of the table")
    parser.add_argument("--holes", type=int, default=8, help="holes per document")
    parser.add_argument("--tokens", type=int, default=1024, help="tokens of a row at most")
    parser.add_argument("--suffix-tokens", type=int, default=96, help="tokens of a suffix at most")
    parser.add_argument("--documents", type=int, help="documents in a round, the first to warm up")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1800, help="nothing new after these")
    parser.add_argument("--no-nll", action="store_true", help="leave out the held-out loss")
    parser.add_argument("--only", nargs="+", choices=sorted(CONTESTANTS), help="some contestants")
    arguments = parser.parse_args()
    if arguments.small:
        arguments.holes, arguments.tokens, arguments.rounds = SMALL_SIZE
    if arguments.documents is None:
        arguments.documents = 2 if arguments.small or arguments.table else 4
    return arguments


def cells_of(arguments: argparse.Namespace) -> list[Cell]:
    """Return what is to be measured."""

    def workload(holes: int, tokens: int) -> Workload:
        made = build_workload(
            holes_per_document=holes,
            max_tokens=tokens,
            suffix_tokens=arguments.suffix_tokens,
            num_documents=arguments.documents,
        )
        return replace(made, held_out=()) if arguments.no_nll or arguments.table else made

    def wanted(names: Sequence[str]) -> list[str]:
        return [name for name in names if name in (arguments.only or names)]

    if not arguments.table:
        made = workload(arguments.holes, arguments.tokens)
        able = [name for name in CONTESTANTS if name != "archive_bfloat16" or has_bfloat16()]
        return [Cell(made, wanted(able))]
    lengths, counts = (TABLE_TOKENS, TABLE_HOLES)
    if arguments.small:
        lengths, counts = (lengths[:1], counts[:2])
    cells = []
    for tokens in lengths:
        whole = workload(counts[-1], tokens)
        cells.append(Cell(whole.with_fewer_holes(REFERENCE_HOLES), wanted(TABLE_REFERENCES)))
        cells += [Cell(whole.with_fewer_holes(each), wanted(["ours_tree"])) for each in counts]
    return cells


def has_bfloat16() -> bool:
    """Tell whether this machine multiplies bfloat16 in hardware."""
    from fim.model.hardware import detect_hardware

    return detect_hardware().has_bfloat16


def main() -> int:
    """Measure one size, or all of the table, and write it."""
    arguments = parse_arguments()
    cells = cells_of(arguments)
    facts = {
        "machine": describe_machine(),
        "versions": package_versions(),
        "workloads": [cell.workload.facts() for cell in cells],
        "untrained_held_out_nll": held_out_nll(cells[0].workload),
    }
    rows: list[Row] = []

    def note() -> None:
        rows[:] = [row for cell in cells for row in rows_of(cell)]
        result = facts | {"rows": [vars(row) for row in rows], "ratios": all_ratios(rows)}
        arguments.json.parent.mkdir(parents=True, exist_ok=True)
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    measure(cells, rounds=arguments.rounds, seconds=arguments.seconds, note=note)
    show(rows)
    if arguments.plots:
        plot_growth(arguments.json, arguments.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
