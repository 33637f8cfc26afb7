from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fim.packing import best_fit_decreasing


def test_the_largest_comes_first_and_fills_the_fullest_bin_that_has_room() -> None:
    assert best_fit_decreasing([5, 3, 4, 2], 7) == [[0, 3], [2, 1]]
    assert best_fit_decreasing([], 7) == []


def test_an_item_that_is_too_large_is_alone() -> None:
    assert best_fit_decreasing([9, 1, 1], 4) == [[0], [1, 2]]


@given(sizes=st.lists(st.integers(1, 50), max_size=40), capacity=st.integers(1, 60))
def test_every_item_is_in_one_bin_that_holds_it(sizes: list[int], capacity: int) -> None:
    bins = best_fit_decreasing(sizes, capacity)
    assert sorted(item for each in bins for item in each) == list(range(len(sizes)))
    assert all(len(each) == 1 or sum(sizes[item] for item in each) <= capacity for each in bins)
    if bins and capacity >= max(sizes):
        assert len(bins) <= 2 * sum(sizes) / capacity + 1
