"""Groups stay together, sides are stable, verbatim text is found."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim.corpus.splits import (
    HELD_OUT,
    MIN_LEAK_CHARS,
    TRAIN,
    VerbatimSearch,
    assign_sides,
    leak_needle,
)


def sides(keys: list[str], groups: list[int], fraction: float = 0.2) -> tuple[str, ...]:
    return assign_sides(keys, groups, held_out_fraction=fraction, seed=7)


def test_groups_are_never_torn() -> None:
    keys = [f"repo/{n}.py" for n in range(300)]
    groups = [n - n % 3 for n in range(300)]
    result = sides(keys, groups)
    assert all(len(set(result[n : n + 3])) == 1 for n in range(0, 300, 3))
    assert 0.1 < result.count(HELD_OUT) / 300 < 0.3


def test_a_new_file_moves_no_other() -> None:
    keys = [f"repo/{n}.py" for n in range(100)]
    before = sides(keys, list(range(100)))
    after = sides(["repo/00.py", *keys], list(range(101)))
    assert after[1:] == before


def test_small_sets_fill_both_sides_where_they_can() -> None:
    assert sides(["a"], [0]) == (TRAIN,)
    assert set(sides(["a", "b"], [0, 1], 0.0001)) == {TRAIN, HELD_OUT}
    assert set(sides(["a", "b"], [0, 1], 0.9999)) == {TRAIN, HELD_OUT}
    assert sides(["a", "b"], [0, 1], 0.0) == (TRAIN, TRAIN)
    assert sides([], []) == ()


ALPHABET = st.sampled_from([*"ab \n", "é", "\U0001f600"])


@given(
    needle=st.text(ALPHABET, min_size=MIN_LEAK_CHARS, max_size=60),
    before=st.text(ALPHABET, max_size=50),
    after=st.text(ALPHABET, max_size=50),
)
@settings(max_examples=150, deadline=None)
def test_a_needle_in_a_text_is_always_found(needle: str, before: str, after: str) -> None:
    search = VerbatimSearch([needle, needle + "-"])
    search.scan(before + needle + after)
    assert search.found == {needle}


def test_search_agrees_with_the_plain_one() -> None:
    draw = random.Random(1)
    text = "".join(draw.choice("ab") for _ in range(20_000))
    needles = [text[n : n + 41] for n in range(0, 15_000, 500)]
    needles += [needle[:-1] + "x" for needle in needles]
    search = VerbatimSearch(needles)
    search.scan(text[:9000])
    assert search.found == {needle for needle in needles if needle in text[:9000]}


@pytest.mark.parametrize("text", ["", "x" * (MIN_LEAK_CHARS - 1)])
def test_short_texts_and_needles_are_left_alone(text: str) -> None:
    search = VerbatimSearch([text])
    search.scan("x" * 100)
    search.scan(text)
    assert search.found == set()


def test_needles_leave_out_white_space_only_when_long_enough() -> None:
    assert leak_needle("  " + "x" * 40) == "x" * 40
    assert leak_needle("  " + "x" * 38) == "  " + "x" * 38
    assert leak_needle("x" * 39) == ""
