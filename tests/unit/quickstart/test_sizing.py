"""A quickstart scores what the machine has time for, and never looks at answers to decide."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.quickstart.sizing import (
    FEWEST_HOLES,
    SCORING_SHARE,
    TIMES_ASKED,
    affordable_holes,
    spread,
)
from fim.types import FimExample

HOLES = tuple(FimExample(f"a{number}", "b", "c") for number in range(480))


@given(st.integers(1, 480), st.integers(1, 480))
def test_spread_takes_holes_in_order_and_at_even_distances(available: int, number: int) -> None:
    holes = HOLES[:available]
    chosen = spread(holes, number)
    places = [holes.index(each) for each in chosen]
    assert len(chosen) == min(number, available)
    assert places == sorted(set(places))
    gaps = {after - before for before, after in pairwise(places)}
    assert not gaps or max(gaps) - min(gaps) <= 1


@pytest.mark.parametrize(
    ("seconds_per_hole", "seconds_left", "expected"),
    [(0.15, 580.0, 480), (0.0, 580.0, 480), (0.67, 570.0, 157), (9.0, 570.0, FEWEST_HOLES)],
    ids=["fast", "instant", "slow", "very slow"],
)
def test_a_slow_machine_scores_fewer(
    seconds_per_hole: float, seconds_left: float, expected: int
) -> None:
    found = affordable_holes(480, seconds_per_hole=seconds_per_hole, seconds_left=seconds_left)
    assert found == expected


@given(st.floats(0.01, 2.0), st.floats(60.0, 3600.0))
def test_scoring_stays_within_its_share(seconds_per_hole: float, seconds_left: float) -> None:
    found = affordable_holes(10**6, seconds_per_hole=seconds_per_hole, seconds_left=seconds_left)
    takes = found * TIMES_ASKED * seconds_per_hole
    assert found == FEWEST_HOLES or takes <= SCORING_SHARE * seconds_left * (1 + 1e-9)


def test_a_set_of_few_holes_is_scored_whole() -> None:
    assert affordable_holes(40, seconds_per_hole=9.0, seconds_left=60.0) == 40
