"""From a comparison to the page that people read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.evaluating.page_answers import chosen_cells, outcomes, worst_cells
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
    groups = outcomes(tested_a, answers_b)
    metrics = _metrics(found)
    return EvalPage(
        title=_title(facts_b),
        headline=headline(found),
        verdict=found.verdict,
        reason="" if found.problems else f"{found.reason[:1].upper()}{found.reason[1:]}.",
        name_a=found.whole.name_a,
        name_b=found.whole.name_b,
        items=found.whole.items,
        clusters=found.whole.clusters,
        problems=tuple(_sentence(problem.message) for problem in found.problems),
        metrics=metrics,
        slices=tuple(_slice(row, found.primary) for row in found.slices),
        primary=eval_display(found.primary),
        latency={
            f"A \N{MIDDLE DOT} {found.whole.name_a}": _times(tested_a),
            f"B \N{MIDDLE DOT} {found.whole.name_b}": _times(
                [answers_b[sample.item] for sample in tested_a]
            ),
        },
        cells=chosen_cells(groups, answers_b, seed),
        worst=worst_cells(tested_a, answers_b),
        cell_counts={name: len(members) for name, members in groups.items()},
        seed=seed,
        draws=found.draws,
        tables=page_tables(found, facts_b, tested_a, answers_b),
        leaks=leak_tables(facts_b),
        leak_note=leak_note(facts_a, facts_b),
        sandbox=sandbox_facts(facts_b),
        facts=check_facts(found, facts_a, facts_b),
        prompt_item=str(mapping(facts_b.get("asked")).get("first_item", "")),
        prompt_ids=_ids(facts_b),
    )


def _title(facts: Mapping[str, object]) -> str:
    return _sentence(str(facts.get("title", "base against tuned"))).removesuffix(".")


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


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


def _ids(facts: Mapping[str, object]) -> tuple[int, ...]:
    ids = mapping(facts.get("asked")).get("first_prompt_ids")
    return tuple(int(each) for each in ids) if isinstance(ids, list) else ()


def _times(samples: Sequence[Sample]) -> tuple[float, ...]:
    return tuple(sample.milliseconds for sample in samples)
