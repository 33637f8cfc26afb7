"""Clean-ups of completions: pure, gold-free, named, and never applied unless asked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fim.inference.stops import StopRule

_FENCE_LINE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n`]*$", re.MULTILINE)
_HAS_WORD = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class CleanUp:
    """A named clean-up: ``apply(text, prefix, suffix)`` returns the text to insert."""

    name: str
    apply: Callable[[str, str, str], str]

    def then(self, other: CleanUp) -> CleanUp:
        """Return the clean-up that does this one and then another."""
        return CleanUp(
            f"{self.name}+{other.name}",
            lambda text, prefix, suffix: other.apply(
                self.apply(text, prefix, suffix), prefix, suffix
            ),
        )


def remove_markdown_fence(text: str) -> str:
    """Return the inside of the first Markdown code block, or the text when it has none.

    Prose before and after the block goes with the fences. A block that is never closed reaches to
    the end. The line break before the closing fence belongs to the fence.
    """
    opening = _FENCE_LINE.search(text)
    if opening is None:
        return text
    start = opening.end() + 1
    closing = _closing_fence(text, start, opening.group(1))
    return text[start:] if closing is None else text[start : max(start, closing - 1)]


def cut_at_closing_fence(text: str) -> str:
    """Return the text before its first fence line, for prompts that opened the block themselves."""
    closing = _FENCE_LINE.search(text)
    return text if closing is None else text[: max(0, closing.start() - 1)]


def drop_repeated_prefix(text: str, prefix: str) -> str:
    """Drop the head of the text when it repeats the tail of the prefix.

    Only a tail that starts at the beginning of a line and holds a letter or digit counts, so that
    a bracket that happens to follow its like stays.
    """
    start = len(prefix)
    longest = 0
    while start > 0 and len(prefix) - start <= len(text):
        start = prefix.rfind("\n", 0, start - 1) + 1
        tail = prefix[start:]
        if _HAS_WORD.search(tail) and text.startswith(tail):
            longest = len(tail)
    return text[longest:]


def drop_repeated_suffix(text: str, suffix: str) -> str:
    """Drop the tail of the text when it repeats the head of the suffix.

    An overlap without a letter or digit is kept: closing brackets often stand twice in code.
    """
    for size in range(min(len(text), len(suffix)), 0, -1):
        head = suffix[:size]
        if text.endswith(head) and _HAS_WORD.search(head):
            return text[: len(text) - size]
    return text


def drop_overlap(text: str, prefix: str, suffix: str) -> str:
    """Drop a repeated tail of the prefix, then a repeated head of the suffix."""
    return drop_repeated_suffix(drop_repeated_prefix(text, prefix), suffix)


def _closing_fence(text: str, start: int, opening: str) -> int | None:
    for match in _FENCE_LINE.finditer(text, start):
        fence = match.group(1)
        if fence[0] == opening[0] and len(fence) >= len(opening):
            return match.start()
    return None


REMOVE_FENCE = CleanUp("remove_fence", lambda text, _prefix, _suffix: remove_markdown_fence(text))
CUT_AT_FENCE = CleanUp("cut_at_fence", lambda text, _prefix, _suffix: cut_at_closing_fence(text))
DROP_OVERLAP = CleanUp("drop_overlap", drop_overlap)

CLEAN_UPS = {clean.name: clean for clean in (REMOVE_FENCE, CUT_AT_FENCE, DROP_OVERLAP)}


def ended_by(rule: StopRule) -> CleanUp:
    """Return the clean-up that ends a finished answer where a stop rule would have ended it."""

    def cut(text: str, prefix: str, suffix: str) -> str:
        scan = rule.scan(text, prefix=prefix, suffix=suffix, final=True)
        if scan.cut is not None:
            return text[: scan.cut]
        return text + rule.missing_line_end(text, prefix=prefix, suffix=suffix)

    return CleanUp(rule.name, cut)


def clean_up(name: str) -> CleanUp:
    """Return a clean-up by name.

    Raises:
        InvalidSettingError: No clean-up has that name.
    """
    if name not in CLEAN_UPS:
        raise InvalidSettingError(
            f"there is no clean-up {name!r}, so the text would not be what you expect",
            hint=f"use one of: {', '.join(CLEAN_UPS)}",
        )
    return CLEAN_UPS[name]
