"""Tokenising only the part of a long text that the budget can keep.

A tokenizer reads about a megabyte a second, and a prompt keeps a few kilobytes of a file: encoding
whole files for every hole and every keystroke would cost far more than the model's own data path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.types import TextTokenizer

Side = Literal["head", "tail"]

_CHARS_PER_TOKEN = 5
_MARGIN_TOKENS = 16


def encode_window(tokenizer: TextTokenizer, text: str, *, num_tokens: int, side: Side) -> list[int]:
    """Return the ids of a text, or of enough of one side of it.

    Args:
        tokenizer: Encodes plain text.
        text: Any text.
        num_tokens: How many ids at that side must equal those of the whole text.
        side: ``head`` for the start of the text, ``tail`` for its end.

    Returns:
        All ids of a short text; of a long one at least ``num_tokens`` and a margin, in which the
        cut inside the text may show. The text is cut at a line where there is one.
    """
    size = (max(num_tokens, 0) + _MARGIN_TOKENS) * _CHARS_PER_TOKEN
    while size < len(text):
        window = _tail(text, size) if side == "tail" else _head(text, size)
        ids = tokenizer.encode(window)
        if len(ids) >= num_tokens + _MARGIN_TOKENS:
            return ids
        size *= 2
    return tokenizer.encode(text)


def encode_sides(
    tokenizer: TextTokenizer,
    before: Sequence[str],
    after: Sequence[str],
    *,
    num_tokens: int,
    before_share: float,
) -> list[list[int]]:
    """Return the ids of the texts before and after a hole, or of all that a prompt can keep.

    A side keeps more than its share only where the other has less text than its own. So the shorter
    side is read up to its share first and tells how much of the longer one can be kept.

    Args:
        tokenizer: Encodes plain text.
        before: Texts before the hole, cut from the left.
        after: Texts after it, cut from the right.
        num_tokens: Length of the prompt at most.
        before_share: Part of the room for code that the text before the hole gets, from 0 to 1.

    Returns:
        Ids of each text, those before the hole first. Where a side is not whole it has more ids
        than any prompt of that length keeps of it, whatever else stands in the prompt.
    """
    for_before = round(num_tokens * before_share) + 1
    shares = (for_before, num_tokens - for_before + 2)
    texts = (before, after)
    sides: tuple[Side, Side] = ("tail", "head")
    first = 0 if sum(map(len, before)) <= sum(map(len, after)) else 1
    found: list[list[list[int]]] = [[], []]
    asked, room = [0, 0], shares[first]
    for at in (first, 1 - first, first):
        asked[at] = room
        found[at] = [
            encode_window(tokenizer, text, num_tokens=room, side=sides[at]) for text in texts[at]
        ]
        other = 1 - at
        room = max(shares[other], num_tokens - sum(map(len, found[at])))
        is_whole = all(len(ids) < asked[other] + _MARGIN_TOKENS for ids in found[other])
        if found[other] and (room <= asked[other] or is_whole):
            break
    return found[0] + found[1]


def _tail(text: str, size: int) -> str:
    start = len(text) - size
    newline = text.find("\n", start, start + size // 2)
    return text[newline + 1 :] if newline >= 0 else text[start:]


def _head(text: str, size: int) -> str:
    newline = text.rfind("\n", size // 2, size)
    return text[: newline + 1] if newline >= 0 else text[:size]
