from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fim.packing.starts import StartRange, shared_starts


def test_ranges_with_a_place_in_common_begin_at_the_latest_of_their_earliest() -> None:
    ranges = [StartRange(0, 50), StartRange(30, 90), StartRange(60, 120)]
    assert shared_starts(ranges) == [30, 30, 60]
    assert shared_starts(ranges[::-1]) == [60, 30, 30]
    assert shared_starts([]) == []


def test_a_range_keeps_its_share_of_the_prefix() -> None:
    assert StartRange.of(cursor=1000, kept=400, least_share=0.5) == StartRange(600, 800)
    assert StartRange.of(cursor=1000, kept=400, least_share=1.0) == StartRange(600, 600)


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 200)), max_size=30))
def test_every_start_is_allowed_and_no_fewer_would_do(sizes: list[tuple[int, int]]) -> None:
    ranges = [StartRange(earliest, earliest + room) for earliest, room in sizes]
    starts = shared_starts(ranges)
    assert all(
        each.earliest <= start <= each.latest for each, start in zip(ranges, starts, strict=True)
    )
    least, last = 0, -1
    for each in sorted(ranges, key=lambda range_: range_.latest):
        if each.earliest > last:
            least, last = least + 1, each.latest
    assert len(set(starts)) == least
