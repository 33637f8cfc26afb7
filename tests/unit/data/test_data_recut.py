from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.data.recut import empty_out, is_clean_cut, recut
from fim.types import ContextItem, FimExample

TEXT = st.text(alphabet="ab_1 \t\r\n.\u0301\u200d\U0001f600", max_size=40)
HOLE = FimExample(
    prefix="import os\ntotal = first_value", middle=" + second_value\n", suffix="print(total)\n"
)


@given(prefix=TEXT, middle=TEXT, suffix=TEXT, seed=st.integers(0, 9))
def test_the_text_stays_and_the_new_hole_begins_on_the_same_line(
    prefix: str, middle: str, suffix: str, seed: int
) -> None:
    example = FimExample(prefix, middle, suffix)
    changed = recut(example, random.Random(seed))
    if changed is None:
        return
    assert changed.prefix + changed.middle + changed.suffix == prefix + middle + suffix
    assert changed.middle
    assert len(changed.suffix) >= len(suffix)
    line_start = prefix.rfind("\n") + 1
    assert changed.prefix.startswith(prefix[:line_start])
    assert "\n" not in changed.prefix[line_start:]
    for before, after in ((changed.prefix, changed.middle), (changed.middle, changed.suffix)):
        if after and after != suffix:
            assert is_clean_cut(before + after, len(before))


def test_many_cuts_fall_inside_a_word() -> None:
    changed = [recut(HOLE, random.Random(seed)) for seed in range(200)]
    inside = [
        each
        for each in changed
        if each is not None and each.prefix[-1].isalnum() and each.middle[0].isalnum()
    ]
    assert len(inside) > 80
    assert len({each.prefix for each in inside}) > 10


@pytest.mark.parametrize("middle", ["", "x"])
def test_where_there_is_no_place_to_cut_there_is_none(middle: str) -> None:
    assert recut(FimExample("a\n", middle, "b"), random.Random(1)) is None


def test_context_that_holds_the_new_middle_goes() -> None:
    line = "result = compute_everything(first, second)"
    example = FimExample("", line, "\n", context=(ContextItem(line[3:]), ContextItem("other")))
    for seed in range(50):
        changed = recut(example, random.Random(seed))
        assert changed is not None
        if len(changed.middle) >= 20:
            assert changed.context == (ContextItem("other"),)
        else:
            assert changed.context == example.context


def test_an_emptied_hole_stands_behind_the_middle() -> None:
    emptied = empty_out(HOLE)
    assert emptied.middle == ""
    assert emptied.prefix == HOLE.prefix + HOLE.middle
    assert emptied.suffix == HOLE.suffix
