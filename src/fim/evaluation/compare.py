"""Comparing two results on the same holes: differences, intervals, and one verdict."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from fim.errors import EvaluationError
from fim.evaluation.metrics import BINARY, EDIT_SIMILARITY, HIGHER_IS_BETTER, NLL_PER_TOKEN
from fim.evaluation.samples import metric_parts
from fim.evaluation.statistics import (
    BETTER,
    DEFAULT_DRAWS,
    DEFAULT_SEED,
    UNCLEAR,
    WORSE,
    Interval,
    PairedSums,
    Verdict,
    mcnemar_exact,
    paired_ratio_bootstrap,
    verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fim.evaluation.samples import EvaluationResult

HEADLINE_METRICS = (NLL_PER_TOKEN, EDIT_SIMILARITY)


@dataclass(frozen=True, slots=True)
class MetricComparison:
    """One metric of two sides.

    ``difference`` is ``b - a`` with its 95 % interval; p is exact McNemar's for right-or-wrong
    metrics and the bootstrap's for all others.
    """

    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float

    @property
    def interval(self) -> Interval:
        """The difference with its interval."""
        return Interval(self.difference, self.low, self.high, self.p)

    def as_json(self) -> dict[str, float]:
        """Return the comparison as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two results side by side; ``verdict`` says whether b is better than a."""

    name_a: str
    name_b: str
    items: int
    clusters: int
    metrics: Mapping[str, MetricComparison]
    verdict: Verdict

    def as_json(self) -> dict[str, object]:
        """Return the comparison as JSON-ready data."""
        return {
            "a": self.name_a,
            "b": self.name_b,
            "items": self.items,
            "clusters": self.clusters,
            "metrics": {name: found.as_json() for name, found in self.metrics.items()},
            "verdict": self.verdict,
        }


def compare(
    result_a: EvaluationResult,
    result_b: EvaluationResult,
    *,
    draws: int = DEFAULT_DRAWS,
    seed: int = DEFAULT_SEED,
    headline: Sequence[str] = HEADLINE_METRICS,
) -> Comparison:
    """Compare two results item by item.

    Args:
        result_a: The base.
        result_b: What should be better.
        draws: Bootstrap draws.
        seed: Seed of the bootstrap.
        headline: Metrics that decide the verdict, as far as both sides have them.

    Raises:
        EvaluationError: The two were scored on different holes.
    """
    result_b = _in_order_of(result_a, result_b)
    shared = [name for name in HIGHER_IS_BETTER if _is_in_both(name, result_a, result_b)]
    metrics = {
        name: _compare_metric(name, result_a, result_b, draws=draws, seed=seed) for name in shared
    }
    verdicts = [
        verdict(metrics[name].interval, higher_is_better=HIGHER_IS_BETTER[name])
        for name in headline
        if name in metrics
    ]
    return Comparison(
        name_a=result_a.name,
        name_b=result_b.name,
        items=len(result_a.samples),
        clusters=len({sample.cluster for sample in result_a.samples}),
        metrics=metrics,
        verdict=joint_verdict(verdicts),
    )


def joint_verdict(verdicts: Sequence[Verdict]) -> Verdict:
    """Return ``better`` when all are, ``worse`` when one is and none is better."""
    if verdicts and all(found == BETTER for found in verdicts):
        return BETTER
    return WORSE if WORSE in verdicts and BETTER not in verdicts else UNCLEAR


def best_form(results: Iterable[EvaluationResult], metric: str) -> EvaluationResult:
    """Return the result that is best in a metric: the base in its best form.

    Raises:
        EvaluationError: No result has the metric.
    """
    candidates = [result for result in results if metric in result.metrics]
    if not candidates:
        raise EvaluationError(
            f"no result has the metric {metric!r}, so there is no best form to compare with",
            hint=f"use one of: {', '.join(HIGHER_IS_BETTER)}",
        )
    sign = 1 if HIGHER_IS_BETTER[metric] else -1
    return max(candidates, key=lambda result: sign * result.metrics[metric])


def _is_in_both(name: str, a: EvaluationResult, b: EvaluationResult) -> bool:
    return name in a.metrics and name in b.metrics


def _in_order_of(a: EvaluationResult, b: EvaluationResult) -> EvaluationResult:
    """Return b with its samples in the order of a's.

    Raises:
        EvaluationError: The two do not hold the same items, each once, with the same gold.
    """
    by_item = {sample.item: sample for sample in b.samples}
    items = [sample.item for sample in a.samples]
    if set(items) != set(by_item) or not len(items) == len(by_item) == len(b.samples):
        raise EvaluationError(
            f"{a.name} was scored on {len(items)} holes and {b.name} on {len(b.samples)}, "
            f"{len(set(items) & set(by_item))} of them the same; only equal holes can be compared",
            hint="score both with the same data and the same eval.num_holes and eval.seed",
        )
    if any(by_item[sample.item].gold != sample.gold for sample in a.samples):
        raise EvaluationError(
            f"{a.name} and {b.name} have holes of the same name with different gold text",
            hint="score both with the same data",
        )
    return type(b)(b.name, tuple(by_item[item] for item in items), b.metrics)


def _compare_metric(
    name: str, a: EvaluationResult, b: EvaluationResult, *, draws: int, seed: int
) -> MetricComparison:
    sums = _shared_sums(name, a, b)
    clusters = [sample.cluster for sample in a.samples]
    interval = paired_ratio_bootstrap(sums, clusters, draws=draws, seed=seed)
    p = interval.p
    if name in BINARY:
        p = mcnemar_exact(sums.numerators_a, sums.numerators_b).p
    return MetricComparison(
        a=sum(sums.numerators_a) / sum(sums.denominators_a),
        b=sum(sums.numerators_b) / sum(sums.denominators_b),
        difference=interval.difference,
        low=interval.low,
        high=interval.high,
        p=p,
    )


def _shared_sums(name: str, a: EvaluationResult, b: EvaluationResult) -> PairedSums:
    """Return the sums of the items that both sides have a value for; zeros stand for the others."""
    parts_a = [metric_parts(sample, name) for sample in a.samples]
    parts_b = [metric_parts(sample, name) for sample in b.samples]
    shared = [
        (first, second) if _is_scored(first) and _is_scored(second) else ((0.0, 0.0), (0.0, 0.0))
        for first, second in zip(parts_a, parts_b, strict=True)
    ]
    return PairedSums(
        numerators_a=[first[0] for first, _ in shared],
        numerators_b=[second[0] for _, second in shared],
        denominators_a=[first[1] for first, _ in shared],
        denominators_b=[second[1] for _, second in shared],
    )


def _is_scored(part: tuple[float, float]) -> bool:
    return part[1] > 0
