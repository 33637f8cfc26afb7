from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.reporting.differences import (
    LONGEST_COMPARED_CHARS,
    Piece,
    compare_texts,
    plain_pieces,
)


def original(pieces: tuple[Piece, ...]) -> str:
    return "".join(
        chr(int(piece.text[2:], 16)) if piece.glyph == "code" else piece.text for piece in pieces
    )


def marked(pieces: tuple[Piece, ...]) -> list[str]:
    return [piece.text for piece in pieces if piece.mark == "differs"]


def test_equal_texts_have_no_mark() -> None:
    difference = compare_texts("a + b", "a + b")

    assert difference.is_equal
    assert difference.gold == difference.output == (Piece("a + b"),)


def test_marks_what_is_missing_and_what_is_added() -> None:
    difference = compare_texts("len(chunks)-1:", "len(chunks):\n")

    assert not difference.is_equal
    assert "".join(marked(difference.gold)) == "-1:"
    assert "".join(marked(difference.output)) == ":\n"


def test_empty_answer_misses_everything() -> None:
    difference = compare_texts("gold", "")

    assert difference.gold == (Piece("gold", "differs"),)
    assert difference.output == ()


def test_chance_runs_in_the_middle_are_differences() -> None:
    difference = compare_texts("abcXefg", "abcYYXYYefg")

    assert marked(difference.gold) == ["X"]
    assert marked(difference.output) == ["YYXYY"]


def test_short_common_ends_are_kept() -> None:
    difference = compare_texts("(value_one)", "(other)")

    assert difference.gold[0] == Piece("(")
    assert difference.gold[-1] == Piece(")")


@pytest.mark.parametrize(
    ("text", "glyphs"),
    [
        ("  a b", ["space", "space", ""]),
        ("a  \nb", ["", "space", "space", "newline", ""]),
        ("a\tb", ["", "tab", ""]),
        ("a\r\n", ["", "return", "newline"]),
    ],
)
def test_whitespace_that_matters_is_drawn(text: str, glyphs: list[str]) -> None:
    assert [piece.glyph for piece in compare_texts(text, text).gold] == glyphs


def test_spaces_inside_a_difference_are_drawn() -> None:
    pieces = compare_texts("a-1", "a - 1").output

    assert [piece.glyph for piece in pieces if piece.text == " "] == ["space", "space"]


@pytest.mark.parametrize("char", ["\0", "\x1b", "\u202e", "\ufeff", "\u2028", "\ud800", "\x0c"])
def test_unseen_characters_are_named(char: str) -> None:
    pieces = plain_pieces(f"a{char}b")

    assert pieces[1] == Piece(f"U+{ord(char):04X}", "same", "code")


def test_joined_emoji_stay_whole() -> None:
    family = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}"
    assert plain_pieces(family) == (Piece(family),)


def test_plain_pieces_draw_whitespace_only_on_demand() -> None:
    assert {piece.glyph for piece in plain_pieces("\ta \n")} == {""}
    assert "tab" in {piece.glyph for piece in plain_pieces("\ta", show_whitespace=True)}


def test_long_texts_are_compared_by_their_ends() -> None:
    inner = "x" * LONGEST_COMPARED_CHARS
    difference = compare_texts(f"ab{inner}yz", f"ab{'w' * len(inner)}yz")

    assert marked(difference.gold) == [inner]
    assert difference.output[0].text == "ab"
    assert difference.output[-1].text == "yz"


def test_long_text_and_its_own_start_do_not_overlap() -> None:
    long = "a" * (LONGEST_COMPARED_CHARS + 5)

    difference = compare_texts(long, long[:-5])

    assert "".join(marked(difference.gold)) == "aaaaa"
    assert original(difference.output) == long[:-5]


@given(st.text(max_size=40), st.text(max_size=40))
def test_pieces_keep_every_character(gold: str, output: str) -> None:
    difference = compare_texts(gold, output)

    assert original(difference.gold) == gold
    assert original(difference.output) == output


@given(st.text("ab (\n", max_size=30), st.text("ab (\n", max_size=30))
def test_unmarked_characters_are_common(gold: str, output: str) -> None:
    difference = compare_texts(gold, output)
    kept_of_gold = "".join(piece.text for piece in difference.gold if piece.mark == "same")
    kept_of_output = "".join(piece.text for piece in difference.output if piece.mark == "same")

    assert kept_of_gold == kept_of_output
