"""Character-level difference of two texts, with whitespace and unseen characters made visible."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

Mark = Literal["same", "differs"]
Glyph = Literal["", "space", "tab", "newline", "return", "code"]

SHORTEST_COMMON_RUN_CHARS = 3
LONGEST_COMPARED_CHARS = 4_000

_GLYPHS: dict[str, Glyph] = {"\t": "tab", "\n": "newline", "\r": "return"}
_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_JOINERS = frozenset("\u200c\u200d")


@dataclass(frozen=True, slots=True)
class Piece:
    """A run of characters that are shown alike.

    ``glyph`` names whitespace to be drawn; for ``code`` the text is the character's name, since
    the character itself must not reach the page.
    """

    text: str
    mark: Mark = "same"
    glyph: Glyph = ""


@dataclass(frozen=True, slots=True)
class Difference:
    """The true text with what the answer misses marked, and the answer with what it adds marked."""

    gold: tuple[Piece, ...]
    output: tuple[Piece, ...]
    is_equal: bool


def compare_texts(gold: str, output: str) -> Difference:
    """Compare an answer with the true text, character by character.

    Common runs shorter than three characters between two differences count as different, since
    they are chance and make a marking unreadable. Texts over 4,000 characters are compared by
    their common start and end only.

    Source: Ratcliff and Metzener's pattern matching, as in the standard library's ``difflib``.
    """
    gold_marks, output_marks = _marks(gold, output)
    return Difference(
        gold=tuple(_pieces(gold, gold_marks)),
        output=tuple(_pieces(output, output_marks)),
        is_equal=gold == output,
    )


def plain_pieces(text: str, *, show_whitespace: bool = False) -> tuple[Piece, ...]:
    """Return unmarked pieces of a text; unseen characters are always replaced by their names."""
    pieces = _pieces(text, ["same"] * len(text))
    if show_whitespace:
        return tuple(pieces)
    return tuple(
        piece if piece.glyph == "code" else Piece(piece.text, piece.mark) for piece in pieces
    )


def _marks(gold: str, output: str) -> tuple[list[Mark], list[Mark]]:
    gold_marks: list[Mark] = ["differs"] * len(gold)
    output_marks: list[Mark] = ["differs"] * len(output)
    for gold_start, output_start, length in _common_runs(gold, output):
        gold_marks[gold_start : gold_start + length] = ["same"] * length
        output_marks[output_start : output_start + length] = ["same"] * length
    return gold_marks, output_marks


def _common_runs(gold: str, output: str) -> Iterator[tuple[int, int, int]]:
    if max(len(gold), len(output)) > LONGEST_COMPARED_CHARS:
        yield from _common_ends(gold, output)
        return
    matcher = SequenceMatcher(None, gold, output, autojunk=False)
    for gold_start, output_start, length in matcher.get_matching_blocks():
        touches_start = gold_start == 0 and output_start == 0
        touches_end = gold_start + length == len(gold) and output_start + length == len(output)
        if touches_start or touches_end or length >= SHORTEST_COMMON_RUN_CHARS:
            yield gold_start, output_start, length


def _common_ends(gold: str, output: str) -> Iterator[tuple[int, int, int]]:
    shorter = min(len(gold), len(output))
    start = 0
    while start < shorter and gold[start] == output[start]:
        start += 1
    end = 0
    while end < shorter - start and gold[-1 - end] == output[-1 - end]:
        end += 1
    yield 0, 0, start
    yield len(gold) - end, len(output) - end, end


def _pieces(text: str, marks: list[Mark]) -> Iterator[Piece]:
    shown = _shown_whitespace(text, marks)
    keyed = (
        (marks[index], _glyph(char, is_shown=shown[index]), char) for index, char in enumerate(text)
    )
    for (mark, glyph), run in groupby(keyed, key=lambda item: item[:2]):
        chars = [char for _, _, char in run]
        if glyph == "":
            yield Piece("".join(chars), mark)
        elif glyph == "code":
            yield from (Piece(f"U+{ord(char):04X}", mark, glyph) for char in chars)
        else:
            yield from (Piece(char, mark, glyph) for char in chars)


def _shown_whitespace(text: str, marks: list[Mark]) -> list[bool]:
    """Tell for each character whether its whitespace is drawn: at line ends and in differences."""
    shown = [mark == "differs" for mark in marks]
    position = 0
    for line in text.split("\n"):
        start = position + len(line.rstrip(" "))
        end = position + len(line)
        shown[start:end] = [True] * (end - start)
        position = end + 1
    leading = len(text) - len(text.lstrip(" "))
    shown[:leading] = [True] * leading
    return shown


def _glyph(char: str, *, is_shown: bool) -> Glyph:
    if char == " ":
        return "space" if is_shown else ""
    if char in _GLYPHS:
        return _GLYPHS[char]
    if char not in _JOINERS and unicodedata.category(char) in _UNSEEN_CATEGORIES:
        return "code"
    return ""
