"""Tokenising only the part of a long text that the budget can keep.

A tokenizer reads about a megabyte a second, and a prompt keeps a few kilobytes of a file: encoding
whole files for every hole and every keystroke would cost far more than the model's own data path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fim.types import TextTokenizer

Side = Literal["head", "tail"]

_CHARS_PER_TOKEN = 6
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


def _tail(text: str, size: int) -> str:
    start = len(text) - size
    newline = text.find("\n", start, start + size // 2)
    return text[newline + 1 :] if newline >= 0 else text[start:]


def _head(text: str, size: int) -> str:
    newline = text.rfind("\n", size // 2, size)
    return text[: newline + 1] if newline >= 0 else text[:size]
