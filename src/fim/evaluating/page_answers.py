"""The answers that a page shows: pairs chosen by seed, and the worst over-runs and missed stops."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fim.evaluation.code_metrics import OVER_RUN_RATE
from fim.evaluation.metrics import STOP_RATE, comparable
from fim.reporting.eval_data import CellKind, EvalCell

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fim.evaluation.samples import Sample

CELLS_PER_OUTCOME = 10
MAX_WORST = 5
PREFIX_LINES, SUFFIX_LINES = 8, 5
SHOWN_CHARS = 1_200
OUTCOMES: tuple[CellKind, ...] = ("won", "lost", "both wrong")


def outcomes(
    tested: Sequence[Sample], answers: Mapping[str, Sample]
) -> dict[CellKind, list[Sample]]:
    """Return the holes that b won, lost, and both got wrong."""
    groups: dict[CellKind, list[Sample]] = {name: [] for name in OUTCOMES}
    for sample in tested:
        before, after = _is_right(sample), _is_right(answers[sample.item])
        if after and not before:
            groups["won"].append(sample)
        elif before and not after:
            groups["lost"].append(sample)
        elif not after:
            groups["both wrong"].append(sample)
    return groups


def chosen_cells(
    groups: Mapping[CellKind, Sequence[Sample]], answers: Mapping[str, Sample], seed: int
) -> tuple[EvalCell, ...]:
    """Return up to ten holes of every outcome, by a hash of seed and name."""
    return tuple(
        _cell(outcome, sample, answers[sample.item])
        for outcome, members in groups.items()
        for sample in sorted(members, key=lambda each: _rank(seed, each.item))[:CELLS_PER_OUTCOME]
    )


def worst_cells(tested: Sequence[Sample], answers: Mapping[str, Sample]) -> tuple[EvalCell, ...]:
    """Return the longest over-runs of b, and the longest of its answers that did not stop."""
    theirs = [answers[sample.item] for sample in tested]
    over = [sample for sample in theirs if sample.metrics.get(OVER_RUN_RATE)]
    endless = [sample for sample in theirs if not sample.metrics.get(STOP_RATE)]
    first = {sample.item: sample for sample in tested}
    ranked: tuple[tuple[CellKind, list[Sample], Callable[[Sample], int]], ...] = (
        ("over-run", over, lambda sample: len(sample.output) - len(comparable(sample.gold))),
        ("did not stop", endless, lambda sample: len(sample.output)),
    )
    return tuple(
        _cell(kind, first[sample.item], sample)
        for kind, members, size in ranked
        for sample in sorted(members, key=lambda each: (-size(each), each.item))[:MAX_WORST]
    )


def _cell(outcome: CellKind, sample: Sample, other: Sample) -> EvalCell:
    before = "\n".join(sample.prefix.split("\n")[-PREFIX_LINES:])
    after = "\n".join(sample.suffix.split("\n")[:SUFFIX_LINES])
    return EvalCell(
        outcome=outcome,
        item=sample.path or sample.item,
        place=" \N{MIDDLE DOT} ".join(filter(None, (sample.language, sample.kind))),
        prefix_tail=before[-SHOWN_CHARS:],
        gold=sample.gold,
        suffix_head=after[:SHOWN_CHARS],
        a=sample.output,
        b=other.output,
        a_stop=sample.stop_reason,
        b_stop=other.stop_reason,
    )


def _is_right(sample: Sample) -> bool:
    for name in ("pass_at_1", "suite_score", "exact_match"):
        if name in sample.metrics:
            return sample.metrics[name] >= 1
    return False


def _rank(seed: int, item: str) -> bytes:
    return hashlib.sha256(f"{seed}:{item}".encode("utf-8", "surrogatepass")).digest()
