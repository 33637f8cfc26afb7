"""From a comparison to the page that people read."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fim.evaluating.page_tables import (
    check_facts,
    leak_note,
    leak_tables,
    mapping,
    page_tables,
    sandbox_facts,
)
from fim.evaluation.suites import TEST_PART
from fim.reporting.eval_data import (
    CellKind,
    EvalCell,
    EvalMetric,
    EvalPage,
    EvalSlice,
    eval_display,
)
from fim.reporting.eval_page import write_eval_page
from fim.reporting.figures import format_difference, format_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fim.evaluation.compare import MetricComparison
    from fim.evaluation.comparing import RunComparison
    from fim.evaluation.folder import EvaluationFolder
    from fim.evaluation.samples import Sample

CELLS_PER_OUTCOME = 10
PREFIX_LINES, SUFFIX_LINES = 8, 5
SHOWN_CHARS = 1_200
OUTCOMES: tuple[CellKind, ...] = ("won", "lost", "both wrong")
CLEAN = "_clean"


def write_page(
    found: RunComparison, a: EvaluationFolder, b: EvaluationFolder, path: Path, *, seed: int
) -> Path:
    """Write the page of a comparison.

    Args:
        found: The comparison.
        a: Folder of the base.
        b: Folder of the other side.
        path: File to write.
        seed: Seed that chooses the holes that are shown.

    Raises:
        MissingExtraError: jinja2 is not installed.
        RunFolderError: The file cannot be written.
    """
    return write_eval_page(make_page(found, a, b, seed=seed), path)


def make_page(
    found: RunComparison, a: EvaluationFolder, b: EvaluationFolder, *, seed: int
) -> EvalPage:
    """Return what the page of a comparison shows.

    Raises:
        EvaluationError: A folder cannot be read.
    """
    facts_a, facts_b = a.facts(), b.facts()
    tested_a = [sample for sample in a.read() if sample.part == TEST_PART]
    answers_b = {sample.item: sample for sample in b.read()}
    groups = _outcomes(tested_a, answers_b)
    metrics = _metrics(found)
    return EvalPage(
        title=str(facts_b.get("title", "Base against tuned")),
        headline=headline(found),
        verdict=found.verdict,
        reason=f"{found.reason[:1].upper()}{found.reason[1:]}.",
        name_a=found.whole.name_a,
        name_b=found.whole.name_b,
        items=found.whole.items,
        clusters=found.whole.clusters,
        problems=tuple(problem.message for problem in found.problems),
        metrics=metrics,
        slices=tuple(_slice(row, found.primary) for row in found.slices),
        primary=eval_display(found.primary),
        latency={
            f"A \N{MIDDLE DOT} {found.whole.name_a}": _times(tested_a),
            f"B \N{MIDDLE DOT} {found.whole.name_b}": _times(
                [answers_b[sample.item] for sample in tested_a]
            ),
        },
        cells=_cells(groups, answers_b, seed),
        cell_counts={name: len(members) for name, members in groups.items()},
        seed=seed,
        draws=found.draws,
        tables=page_tables(found, facts_b, tested_a, answers_b),
        leaks=leak_tables(facts_b),
        leak_note=leak_note(facts_a, facts_b),
        sandbox=sandbox_facts(facts_b),
        facts=check_facts(facts_a, facts_b),
        prompt_item=str(mapping(facts_b.get("asked")).get("first_item", "")),
        prompt_ids=_ids(facts_b),
    )


def headline(found: RunComparison) -> str:
    """Return the finding in one sentence, with its interval."""
    metric = found.whole.metrics[found.primary]
    display = eval_display(found.primary)
    change = format_difference(metric.difference, display.unit)
    low = format_difference(metric.low, display.unit)
    high = format_difference(metric.high, display.unit)
    return (
        f"On {found.whole.items:,} held-out holes, {found.whole.name_b} reaches "
        f"{format_value(metric.b, display.unit)} {display.label[:1].lower()}{display.label[1:]} "
        f"against {format_value(metric.a, display.unit)} of {found.whole.name_a}: "
        f"{change} (95 % interval {low} to {high})."
    )


def _metrics(found: RunComparison) -> tuple[EvalMetric, ...]:
    whole = found.whole.metrics
    return tuple(
        _metric(name, metric, whole.get(f"{name}{CLEAN}"))
        for name, metric in sorted(whole.items(), key=lambda pair: pair[0] != found.primary)
        if not name.endswith(CLEAN)
    )


def _metric(
    name: str, metric: MetricComparison, clean: MetricComparison | None = None
) -> EvalMetric:
    return EvalMetric(
        display=eval_display(name),
        a=metric.a,
        b=metric.b,
        difference=metric.difference,
        low=metric.low,
        high=metric.high,
        p=metric.p,
        clean_a=clean.a if clean else None,
        clean_b=clean.b if clean else None,
    )


def _slice(row: Mapping[str, object], primary: str) -> EvalSlice:
    metrics = mapping(row["metrics"])
    values = metrics.get(primary)
    exact = mapping(metrics.get("exact_match"))
    figures = {key: float(str(value)) for key, value in mapping(values).items()}
    p_holm = row.get("p_holm")
    return EvalSlice(
        language=str(row["language"]) or "unknown language",
        kind=str(row["kind"]),
        items=int(str(row["items"])),
        metric=EvalMetric(display=eval_display(primary), **figures) if figures else None,
        p_holm=p_holm if isinstance(p_holm, float) else None,
        verdict=str(row.get("verdict", "not enough to tell")),
        exact_a=float(str(exact["a"])) if exact else None,
        exact_b=float(str(exact["b"])) if exact else None,
    )


def _is_right(sample: Sample) -> bool:
    for name in ("pass_at_1", "suite_score", "exact_match"):
        if name in sample.metrics:
            return sample.metrics[name] >= 1
    return False


def _outcomes(
    tested: Sequence[Sample], answers: Mapping[str, Sample]
) -> dict[CellKind, list[Sample]]:
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


def _cells(
    groups: Mapping[CellKind, Sequence[Sample]], answers: Mapping[str, Sample], seed: int
) -> tuple[EvalCell, ...]:
    cells = []
    for outcome, members in groups.items():
        ranked = sorted(members, key=lambda sample: _rank(seed, sample.item))
        for sample in ranked[:CELLS_PER_OUTCOME]:
            other = answers[sample.item]
            before = "\n".join(sample.prefix.split("\n")[-PREFIX_LINES:])
            after = "\n".join(sample.suffix.split("\n")[:SUFFIX_LINES])
            place = " \N{MIDDLE DOT} ".join(filter(None, (sample.language, sample.kind)))
            cell = EvalCell(
                outcome=outcome,
                item=sample.path or sample.item,
                place=place,
                prefix_tail=before[-SHOWN_CHARS:],
                gold=sample.gold,
                suffix_head=after[:SHOWN_CHARS],
                a=sample.output,
                b=other.output,
                a_stop=sample.stop_reason,
                b_stop=other.stop_reason,
            )
            cells.append(cell)
    return tuple(cells)


def _rank(seed: int, item: str) -> bytes:
    return hashlib.sha256(f"{seed}:{item}".encode("utf-8", "surrogatepass")).digest()


def _ids(facts: Mapping[str, object]) -> tuple[int, ...]:
    ids = mapping(facts.get("asked")).get("first_prompt_ids")
    return tuple(int(each) for each in ids) if isinstance(ids, list) else ()


def _times(samples: Sequence[Sample]) -> tuple[float, ...]:
    return tuple(sample.milliseconds for sample in samples)
