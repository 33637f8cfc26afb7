"""Statistics against scipy, exact enumeration and known values."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from scipy import stats

from fim.errors import EvaluationError
from fim.evaluation.statistics import (
    Interval,
    PairedSums,
    detectable_difference,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    paired_ratio_bootstrap,
    verdict,
    wilson,
)


def _values(number: int, seed: int) -> tuple[list[float], list[float]]:
    chance = random.Random(seed)
    a = [chance.random() for _ in range(number)]
    return a, [value + chance.gauss(0.05, 0.2) for value in a]


def test_bootstrap_of_single_item_clusters_agrees_with_scipy() -> None:
    a, b = _values(80, seed=1)
    found = paired_bootstrap(a, b, range(80), draws=20_000)
    differences = np.subtract(b, a)
    expected = stats.bootstrap(
        (differences,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    assert found.difference == pytest.approx(float(differences.mean()))
    assert found.low == pytest.approx(expected.low, abs=2e-3)
    assert found.high == pytest.approx(expected.high, abs=2e-3)


def test_bootstrap_over_clusters_agrees_with_every_possible_draw() -> None:
    losses_a, losses_b = [3.0, 1.0, 4.0, 1.0, 5.0], [2.0, 2.0, 3.0, 0.0, 5.0]
    tokens = [2.0, 1.0, 3.0, 1.0, 4.0]
    clusters = ["x", "x", "y", "z", "z"]
    sums = PairedSums(losses_a, losses_b, tokens, tokens)
    found = paired_ratio_bootstrap(sums, clusters, draws=100_000)
    members = {name: [i for i, c in enumerate(clusters) if c == name] for name in "xyz"}
    every = []
    for draw in itertools.product("xyz", repeat=3):
        items = [i for name in draw for i in members[name]]
        total = sum(tokens[i] for i in items)
        every.append(sum(losses_b[i] - losses_a[i] for i in items) / total)
    assert found.difference == pytest.approx(-2 / 11)
    assert found.low == pytest.approx(np.quantile(every, 0.025, method="inverted_cdf"))
    assert found.high == pytest.approx(np.quantile(every, 0.975, method="inverted_cdf"))


def test_clusters_widen_the_interval() -> None:
    a = [0.0] * 60
    b = [float(number // 10 % 2) for number in range(60)]
    alone = paired_bootstrap(a, b, range(60))
    together = paired_bootstrap(a, b, [number // 10 for number in range(60)])
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_seed_and_slices_of_draws_decide_nothing_else() -> None:
    a, b = _values(300, seed=2)
    clusters = [number // 3 for number in range(300)]
    first = paired_bootstrap(a, b, clusters, seed=5)
    assert paired_bootstrap(a, b, clusters, seed=5) == first
    assert paired_bootstrap(a, b, clusters, seed=6) != first
    swapped = paired_bootstrap(b, a, clusters, seed=5)
    assert (swapped.low, swapped.high) == pytest.approx((-first.high, -first.low))
    assert swapped.p == first.p


def test_coverage_is_near_what_it_says() -> None:
    chance = np.random.default_rng(3)
    held = 0
    for trial in range(200):
        effects = chance.normal(0.3, 1.0, size=40).repeat(3)
        b = effects + chance.normal(0, 0.5, size=120)
        interval = paired_bootstrap(
            [0.0] * 120, list(b), list(np.arange(40).repeat(3)), draws=500, seed=trial
        )
        held += interval.low <= 0.3 <= interval.high
    assert 0.89 <= held / 200 <= 0.98


def test_p_is_small_where_the_interval_excludes_zero_and_never_zero() -> None:
    sure = paired_bootstrap([0.0] * 30, [1.0] * 30, range(30), draws=1000)
    none = paired_bootstrap([1.0] * 30, [1.0] * 30, range(30), draws=1000)
    assert sure.p == pytest.approx(2 / 1001)
    assert (none.difference, none.low, none.high, none.p) == (0.0, 0.0, 0.0, 1.0)


def test_draws_without_tokens_are_left_out() -> None:
    sums = PairedSums([1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [1.0, 0.0])
    found = paired_ratio_bootstrap(sums, ["x", "y"], draws=200)
    assert (found.difference, found.low, found.high) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("a", "b", "clusters"), [([], [], []), ([1.0], [1.0, 2.0], ["x"]), ([1.0], [1.0], ["x", "y"])]
)
def test_unpaired_items_are_refused(a: list[float], b: list[float], clusters: list[str]) -> None:
    with pytest.raises(EvaluationError, match="paired items"):
        paired_bootstrap(a, b, clusters)


def test_no_tokens_at_all_is_refused() -> None:
    with pytest.raises(EvaluationError, match="nothing to divide by"):
        paired_ratio_bootstrap(PairedSums([0.0], [0.0], [0.0], [0.0]), ["x"])


@pytest.mark.parametrize(
    ("interval", "higher", "expected"),
    [
        (Interval(1.0, 0.1, 2.0), True, "better"),
        (Interval(1.0, 0.1, 2.0), False, "worse"),
        (Interval(-1.0, -2.0, -0.1), False, "better"),
        (Interval(-1.0, -2.0, -0.1), True, "worse"),
        (Interval(1.0, -0.1, 2.0), True, "not enough to tell"),
        (Interval(0.0, 0.0, 0.0), True, "not enough to tell"),
        (Interval(1.0, 0.0, 2.0), True, "not enough to tell"),
    ],
)
def test_verdict(interval: Interval, higher: bool, expected: str) -> None:
    assert verdict(interval, higher_is_better=higher) == expected


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (5, 5), (3, 11), (55, 96)])
def test_mcnemar_is_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    a = [1.0] * only_a + [0.0] * only_b + [1.0, 0.0]
    b = [0.0] * only_a + [1.0] * only_b + [1.0, 0.0]
    found = mcnemar_exact(a, b)
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert (found.only_a, found.only_b) == (only_a, only_b)
    assert found.p == pytest.approx(expected)


def test_mcnemar_of_many_pairs_stays_exact() -> None:
    found = mcnemar_exact([1.0] * 2500 + [0.0] * 2700, [0.0] * 2500 + [1.0] * 2700)
    assert found.p == pytest.approx(stats.binomtest(2500, 5200).pvalue)
    with pytest.raises(EvaluationError, match="2 and 1"):
        mcnemar_exact([1.0, 0.0], [1.0])


@pytest.mark.parametrize(("successes", "total"), [(0, 10), (3, 10), (10, 10), (512, 1033)])
def test_wilson_agrees_with_scipy(successes: int, total: int) -> None:
    found = wilson(successes, total)
    expected = stats.binomtest(successes, total).proportion_ci(method="wilson")
    assert found.rate == successes / total
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("successes", "total"), [(0, 0), (2, 1), (-1, 3)])
def test_wilson_refuses_what_is_no_share(successes: int, total: int) -> None:
    with pytest.raises(EvaluationError, match="not a share"):
        wilson(successes, total)


def test_holm_matches_the_values_of_r() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(("items", "wanted"), [(1033, 0.034), (300, 0.063), (100, 0.108)])
def test_detectable_difference_at_15_percent_discordant_pairs(items: int, wanted: float) -> None:
    assert detectable_difference(items, 0.15) == pytest.approx(wanted, abs=0.002)


def test_detectable_difference_needs_pairs() -> None:
    with pytest.raises(EvaluationError, match="0 pairs"):
        detectable_difference(0, 0.1)
