"""Holes begin where a token begins, and the text as a whole stays what it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.data import (
    MixedExample,
    MixedSet,
    RowRole,
    TokenizerView,
    align_cut,
    align_holes,
    can_align,
    cut_aligner,
)
from fim.formats import resolve_format
from fim.types import FimExample

CODE = st.text(alphabet="ab_ \n\t\r().=1é漢😀", max_size=60)


class Words:
    """Tokens are runs of letters, each with one space before it; all else stands alone."""

    def token_start(self, text: str, position: int) -> int:
        start = position
        while 0 < start < len(text) and text[start - 1].isalpha() and text[start].isalpha():
            start -= 1
        if 0 < start < len(text) and text[start - 1] == " " and text[start].isalpha():
            start -= 1
        return start


def hole(prefix: str, middle: str) -> FimExample:
    return FimExample(prefix=prefix, middle=middle, suffix="\nend")


@pytest.mark.parametrize(
    ("prefix", "middle", "wanted"),
    [
        ("self.val", "ue + 1", ("self.", "value + 1")),
        ("def f():\n    ", "return x", ("def f():\n   ", " return x")),
        ("x = ", "foo(1)", ("x =", " foo(1)")),
        ("foo(", "a, b)", ("foo(", "a, b)")),
        ("val", "ue", ("", "value")),
        ("", "value", ("", "value")),
        ("self.val", "", ("self.val", "")),
    ],
)
def test_a_hole_begins_with_its_token(prefix: str, middle: str, wanted: tuple[str, str]) -> None:
    aligned = align_cut(hole(prefix, middle), Words())
    assert (aligned.prefix, aligned.middle) == wanted
    assert aligned.suffix == "\nend"


def test_a_hole_that_begins_with_a_token_is_the_same_object() -> None:
    example = hole("foo(", "a, b)")
    assert align_cut(example, Words()) is example


def test_only_text_near_the_cursor_is_read() -> None:
    seen: list[str] = []

    class Recorder(Words):
        def token_start(self, text: str, position: int) -> int:
            seen.append(text)
            return super().token_start(text, position)

    long_line = align_cut(hole("x" * 5000, "y" * 5000), Recorder())
    assert len(long_line.prefix) == 5000 - 160
    near = align_cut(hole("a = 1\n" * 1000 + "b = (val", "ue"), Recorder())
    assert near.middle == "value"
    assert max(map(len, seen)) <= 160 + 64
    assert seen[1].startswith("a = 1\n")


@given(prefix=CODE, middle=CODE)
def test_the_text_stays_and_a_token_begins_at_the_cursor(
    smollm2_view: TokenizerView, prefix: str, middle: str
) -> None:
    aligned = align_cut(hole(prefix, middle), smollm2_view)
    assert aligned.prefix + aligned.middle == prefix + middle
    assert aligned.middle.endswith(middle)
    assert align_cut(aligned, smollm2_view) == aligned
    joined = smollm2_view.encode(aligned.prefix + aligned.middle)
    if aligned.middle:
        apart = [*smollm2_view.encode(aligned.prefix), *smollm2_view.encode(aligned.middle)]
        assert smollm2_view.decode(apart) == smollm2_view.decode(joined)


def test_formats_that_do_not_end_at_the_cursor_are_left_alone(smollm2_view: TokenizerView) -> None:
    example = hole("self.val", "ue")
    classic = resolve_format("psm", smollm2_view).format
    anchored = resolve_format("psm", smollm2_view, anchor_lines=4).format
    assert cut_aligner(classic, smollm2_view)(example) is example
    assert cut_aligner(anchored, smollm2_view, is_wanted=False)(example) is example
    assert cut_aligner(anchored, smollm2_view)(example).middle == "value"


def test_only_holes_of_the_own_format_move_and_are_counted(smollm2_view: TokenizerView) -> None:
    anchored = resolve_format("psm", smollm2_view, anchor_lines=4).format
    example = hole("self.val", "ue")
    mixed = MixedSet(
        tuple(MixedExample(example, role) for role in RowRole), {"fim": 1, "plain": 1, "spm": 1}
    )
    aligned = align_holes(mixed, cut_aligner(anchored, smollm2_view))
    assert [each.example.middle for each in aligned.examples] == ["value", "ue", "ue"]
    assert aligned.effects == {"aligned": 1, "fim": 1, "plain": 1, "spm": 1}
    assert align_holes(mixed, lambda same: same).effects == mixed.effects


def test_a_tokenizer_that_knows_no_places_cannot_align(smollm2_view: TokenizerView) -> None:
    assert can_align(smollm2_view)
    assert not can_align(object())
