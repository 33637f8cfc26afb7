"""Paired statistics: bootstrap over clusters, exact McNemar, Wilson, and a verdict in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from fim.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from numpy.typing import NDArray

Verdict = Literal["better", "worse", "not enough to tell"]

BETTER: Verdict = "better"
WORSE: Verdict = "worse"
UNCLEAR: Verdict = "not enough to tell"

DEFAULT_DRAWS = 10_000
DEFAULT_SEED = 3407
CONFIDENCE = 0.95
_CELLS_PER_CHUNK = 2_000_000
_Z_95 = 1.959963984540054
_Z_80 = 0.8416212335729143


@dataclass(frozen=True, slots=True)
class Interval:
    """A difference ``b - a`` with its 95 % interval and the two-sided p that belongs to it."""

    difference: float
    low: float
    high: float
    p: float = 1.0


@dataclass(frozen=True, slots=True)
class McNemar:
    """Discordant pairs: ``only_a`` right for a alone, ``only_b`` for b alone, and the exact p."""

    only_a: int
    only_b: int
    p: float


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of successes with its 95 % interval."""

    rate: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedSums:
    """Per-item numerators and denominators of a ratio for two sides, shape ``[N]`` each.

    The mean of a metric is the ratio with every denominator 1; tokens as denominators give a loss
    per token.
    """

    numerators_a: Sequence[float]
    numerators_b: Sequence[float]
    denominators_a: Sequence[float]
    denominators_b: Sequence[float]

    @classmethod
    def means(cls, a: Sequence[float], b: Sequence[float]) -> PairedSums:
        """Return the sums behind two means."""
        return cls(a, b, [1.0] * len(a), [1.0] * len(b))


def paired_bootstrap(
    a: Sequence[float],
    b: Sequence[float],
    clusters: Sequence[Hashable],
    *,
    draws: int = DEFAULT_DRAWS,
    seed: int = DEFAULT_SEED,
) -> Interval:
    """Return ``mean(b) - mean(a)`` with its interval, resampling whole clusters.

    Args:
        a: A metric per item.
        b: The same metric of the other side, item by item.
        clusters: What items share (their file); items of a cluster are drawn together.
        draws: Resamplings.
        seed: Seed of the resamplings.

    Raises:
        EvaluationError: The lengths differ or nothing is there.
    """
    return paired_ratio_bootstrap(PairedSums.means(a, b), clusters, draws=draws, seed=seed)


def paired_ratio_bootstrap(
    sums: PairedSums,
    clusters: Sequence[Hashable],
    *,
    draws: int = DEFAULT_DRAWS,
    seed: int = DEFAULT_SEED,
) -> Interval:
    """Return the difference of two ratios of sums with its interval, resampling whole clusters.

    The interval is the percentile interval of the draws. p is twice the smaller share of draws on
    either side of zero, with one draw added so that it is never 0.

    Source: Efron and Tibshirani 1993, chapters 8 and 13; clusters as in Field and Welsh 2007.

    Args:
        sums: Numerators and denominators of both sides.
        clusters: What items share; items of a cluster are drawn together.
        draws: Resamplings.
        seed: Seed of the resamplings.

    Raises:
        EvaluationError: The lengths differ, nothing is there, or a denominator sums to zero.
    """
    totals = _cluster_totals(sums, clusters)
    whole = totals.sum(axis=0)
    if not whole[2] or not whole[3]:
        raise EvaluationError(
            "there is nothing to divide by (no scored tokens), so no difference can be given",
            hint="score more holes, with middles that are not empty",
        )
    difference = float(whole[1] / whole[3] - whole[0] / whole[2])
    differences = np.concatenate(list(_drawn_differences(totals, draws, seed)))
    differences = differences[np.isfinite(differences)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    smaller = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    p = min(1.0, 2 * (smaller + 1) / (len(differences) + 1))
    return Interval(difference, float(low), float(high), p)


def _cluster_totals(sums: PairedSums, clusters: Sequence[Hashable]) -> NDArray[np.float64]:
    """Return the four sums per cluster, ``[C, 4]``: numerators a, b, denominators a, b."""
    columns = [sums.numerators_a, sums.numerators_b, sums.denominators_a, sums.denominators_b]
    lengths = {len(clusters), *(len(column) for column in columns)}
    if len(lengths) != 1 or not clusters:
        raise EvaluationError(
            f"paired items are needed, but the columns have {sorted(lengths)} of them",
            hint="score the same holes with both models",
        )
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    index = np.array([numbers[cluster] for cluster in clusters])
    totals = [
        np.bincount(index, weights=np.asarray(column, dtype=np.float64), minlength=len(numbers))
        for column in columns
    ]
    return np.stack(totals, axis=1)


def _drawn_differences(
    totals: NDArray[np.float64], draws: int, seed: int
) -> Iterator[NDArray[np.float64]]:
    """Yield the differences of all draws, a slice at a time so that memory stays small."""
    num_clusters = len(totals)
    shares = np.full(num_clusters, 1 / num_clusters)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CELLS_PER_CHUNK // num_clusters)
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        counts = generator.multinomial(num_clusters, shares, size=size)
        drawn = counts @ totals
        with np.errstate(divide="ignore", invalid="ignore"):
            yield drawn[:, 1] / drawn[:, 3] - drawn[:, 0] / drawn[:, 2]


def verdict(interval: Interval, *, higher_is_better: bool) -> Verdict:
    """Say whether b is better than a: only where the interval excludes zero."""
    if interval.low <= 0 <= interval.high:
        return UNCLEAR
    return BETTER if (interval.low > 0) == higher_is_better else WORSE


def mcnemar_exact(a: Sequence[float], b: Sequence[float]) -> McNemar:
    """Compare two sides of right-or-wrong answers, item by item.

    p is the exact two-sided binomial probability of a split of the discordant pairs at least as
    uneven as this one.

    Source: McNemar 1947, exact form.

    Raises:
        EvaluationError: The lengths differ.
    """
    if len(a) != len(b):
        raise EvaluationError(
            f"paired answers are needed, but there are {len(a)} and {len(b)}",
            hint="score the same holes with both models",
        )
    only_a = sum(1 for first, second in zip(a, b, strict=True) if first and not second)
    only_b = sum(1 for first, second in zip(a, b, strict=True) if second and not first)
    pairs, ways, tail = only_a + only_b, 1, 0
    for count in range(min(only_a, only_b) + 1):
        tail += ways
        ways = ways * (pairs - count) // (count + 1)
    return McNemar(only_a, only_b, min(1.0, 2 * tail / 2**pairs))


def wilson(successes: int, total: int) -> Rate:
    """Return a share with its 95 % Wilson interval.

    Source: Wilson 1927.

    Raises:
        EvaluationError: The total is 0 or smaller than the successes.
    """
    if total < 1 or not 0 <= successes <= total:
        raise EvaluationError(
            f"{successes} successes of {total} are not a share",
            hint="count at least one item",
        )
    rate = successes / total
    scale = 1 + _Z_95**2 / total
    centre = (rate + _Z_95**2 / (2 * total)) / scale
    spread = _Z_95 * math.sqrt(rate * (1 - rate) / total + _Z_95**2 / (4 * total**2)) / scale
    return Rate(rate, max(0.0, centre - spread), min(1.0, centre + spread))


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being looked at together, in the order given.

    Source: Holm 1979.
    """
    order = sorted(range(len(ps)), key=lambda index: ps[index])
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = highest
    return adjusted


def detectable_difference(items: int, discordant: float) -> float:
    """Return the difference of two paired rates that is found with 80 % power at the 5 % level.

    Source: Connor 1987, ``((z_a sqrt(d) + z_b sqrt(d - delta^2)) / delta)^2 = n`` solved for delta.

    Args:
        items: Pairs.
        discordant: Share of pairs of which exactly one side is right.

    Raises:
        EvaluationError: There are no pairs, or the share is none.
    """
    if items < 1 or not 0 <= discordant <= 1:
        raise EvaluationError(
            f"{items} pairs with a discordant share of {discordant} have no detectable difference",
            hint="count at least one pair",
        )
    low, high = 0.0, discordant
    for _ in range(60):
        delta = (low + high) / 2
        spread = math.sqrt(max(discordant - delta**2, 0.0))
        needed = ((_Z_95 * math.sqrt(discordant) + _Z_80 * spread) / delta) ** 2 if delta else 1e18
        low, high = (low, delta) if needed <= items else (delta, high)
    return high
