"""Other holes at the same place: cut inside a word or a line, or with nothing to insert."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import TYPE_CHECKING

from fim.data.context import holds_middle

if TYPE_CHECKING:
    import random

    from fim.types import FimExample

RECUT = "recut"
EMPTY = "empty"

_INSIDE_WORD_SHARE = 0.5
_SAME_END_SHARE = 0.5
_JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")


def recut(example: FimExample, draw: random.Random) -> FimExample | None:
    """Move the hole's borders to arbitrary characters, so that it may begin inside a word.

    The new hole begins on the line on which the old one began and ends no later. Context items that
    hold the new middle are left out.

    Args:
        example: A hole; its text as a whole stays the same.
        draw: Source of randomness.

    Returns:
        The new hole, or None where there is no place to cut: an empty middle, or a line of one
        character.
    """
    if not example.middle:
        return None
    line_start = example.prefix.rfind("\n") + 1
    text = example.prefix[line_start:] + example.middle
    start = _choose_start(text, draw)
    if start is None:
        return None
    ends = [at for at in range(start + 1, len(text)) if is_clean_cut(text, at)]
    is_same_end = not ends or draw.random() < _SAME_END_SHARE
    end = len(text) if is_same_end else draw.choice(ends)
    middle = text[start:end]
    return replace(
        example,
        prefix=example.prefix[:line_start] + text[:start],
        middle=middle,
        suffix=text[end:] + example.suffix,
        context=tuple(item for item in example.context if not holds_middle(item.text, middle)),
        span_kind=RECUT,
    )


def empty_out(example: FimExample) -> FimExample:
    """Put the cursor behind the middle, where nothing is to be inserted."""
    return replace(example, prefix=example.prefix + example.middle, middle="", span_kind=EMPTY)


def is_clean_cut(text: str, position: int) -> bool:
    r"""Tell whether a text may be cut before a character.

    Neither a carriage return and its line feed nor a character and its combining marks are parted.

    >>> is_clean_cut("a\r\nb", 2)
    False
    """
    before, after = text[position - 1], text[position]
    is_line_ending = before == "\r" and after == "\n"
    is_joined = before in _JOINERS or after in _JOINERS or bool(unicodedata.combining(after))
    return not is_line_ending and not is_joined


def _choose_start(text: str, draw: random.Random) -> int | None:
    newline = text.find("\n")
    last = len(text) - 1 if newline < 0 else newline
    inside_line = [at for at in range(1, last + 1) if at < len(text) and is_clean_cut(text, at)]
    inside_word = [at for at in inside_line if _is_word(text[at - 1]) and _is_word(text[at])]
    if inside_word and draw.random() < _INSIDE_WORD_SHARE:
        return draw.choice(inside_word)
    return draw.choice(inside_line) if inside_line else None


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"
