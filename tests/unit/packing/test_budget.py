from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.packing import RowBudget, fit_prompt
from fim.types import Cut, EncodedSegment, SegmentKind


def piece(kind: SegmentKind, num_tokens: int, start: int = 0) -> EncodedSegment:
    return EncodedSegment(kind, "", tuple(range(start, start + num_tokens)), trained=False)


def prompt(num_head: int, num_suffix: int, num_anchor: int) -> list[EncodedSegment]:
    return [
        piece(SegmentKind.CONTROL, 1),
        piece(SegmentKind.PREFIX, num_head, 1000),
        piece(SegmentKind.CONTROL, 1),
        piece(SegmentKind.SUFFIX, num_suffix, 2000),
        piece(SegmentKind.CONTROL, 1),
        piece(SegmentKind.ANCHOR, num_anchor, 1000 + num_head),
    ]


@pytest.mark.parametrize(
    ("max_tokens", "num_middle", "expected"),
    [(1024, 0, 767), (1024, 256, 767), (1024, 300, 723), (100, 0, 49), (100, 99, 0), (64, 80, -17)],
)
def test_the_reserve_is_capped_at_half_a_row(
    max_tokens: int, num_middle: int, expected: int
) -> None:
    assert RowBudget(max_tokens, 256).prompt_tokens(num_middle) == expected


def test_what_fits_is_not_touched() -> None:
    segments = prompt(5, 5, 5)
    assert fit_prompt(segments, max_tokens=18, prefix_share=0.5) == (tuple(segments), Cut())


def test_the_prefix_loses_its_left_and_the_suffix_its_right() -> None:
    fitted = fit_prompt(prompt(10, 10, 2), max_tokens=13, prefix_share=0.7)
    assert fitted is not None
    segments, cut = fitted
    assert cut == Cut(prefix_tokens=5, suffix_tokens=7)
    assert segments[1].ids == (1005, 1006, 1007, 1008, 1009)
    assert segments[3].ids == (2000, 2001, 2002)
    assert segments[5].ids == (1010, 1011)


def test_the_anchor_is_cut_after_the_head() -> None:
    fitted = fit_prompt(prompt(4, 0, 6), max_tokens=6, prefix_share=0.5)
    assert fitted is not None
    assert fitted[0][1].ids == ()
    assert fitted[0][5].ids == (1007, 1008, 1009)


@pytest.mark.parametrize(("num_head", "num_suffix"), [(100, 2), (2, 100)])
def test_what_one_side_does_not_use_passes_to_the_other(num_head: int, num_suffix: int) -> None:
    fitted = fit_prompt(prompt(num_head, num_suffix, 0), max_tokens=23, prefix_share=0.5)
    assert fitted is not None
    assert sum(len(segment.ids) for segment in fitted[0]) == 23


@pytest.mark.parametrize("max_tokens", [2, 0, -5])
def test_uncuttable_parts_that_are_too_long_give_none(max_tokens: int) -> None:
    assert fit_prompt(prompt(4, 4, 4), max_tokens=max_tokens, prefix_share=0.5) is None


def test_a_prompt_without_fixed_parts_keeps_at_least_a_token() -> None:
    only_prefix = [piece(SegmentKind.PREFIX, 9)]
    assert fit_prompt(only_prefix, max_tokens=0, prefix_share=1.0) is None
    fitted = fit_prompt(only_prefix, max_tokens=1, prefix_share=1.0)
    assert fitted is not None
    assert fitted[0][0].ids == (8,)


@given(
    num_head=st.integers(0, 40),
    num_suffix=st.integers(0, 40),
    num_anchor=st.integers(0, 10),
    max_tokens=st.integers(3, 80),
    prefix_share=st.floats(0, 1),
)
def test_no_token_is_wasted_and_none_is_too_many(
    num_head: int, num_suffix: int, num_anchor: int, max_tokens: int, prefix_share: float
) -> None:
    given_segments = prompt(num_head, num_suffix, num_anchor)
    total = sum(len(segment.ids) for segment in given_segments)
    fitted = fit_prompt(given_segments, max_tokens=max_tokens, prefix_share=prefix_share)
    assert fitted is not None
    segments, cut = fitted
    kept = sum(len(segment.ids) for segment in segments)
    assert kept == min(total, max_tokens)
    assert kept + cut.prefix_tokens + cut.suffix_tokens == total
    before = (*segments[1].ids, *segments[5].ids)
    assert before == tuple(range(1000, 1000 + num_head + num_anchor))[cut.prefix_tokens :]
    assert (
        segments[3].ids == tuple(range(2000, 2000 + num_suffix))[: num_suffix - cut.suffix_tokens]
    )
