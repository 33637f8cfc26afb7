"""Stop rules: gold-free ways to end a completion, the same in a stream and in a batch.

A rule looks at the text so far and says where to cut it, if anywhere, and how much of it no later
text can cut any more. ``NONE`` is the default everywhere: text is only removed when asked.

Rules that end with a line cut before its line end. Where the cursor stands at a line's start before
other text, the completion is a line of its own: they cut after the line end, and give one to an
answer that a model ended without.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from fim.errors import InvalidSettingError

_FIRST_NEWLINE = re.compile(r"\r?\n")
_NEWLINE_AFTER_TEXT = re.compile(r"(?<=\S)[ \t]*(\r?\n)")
_BLANK_LINE_AFTER_TEXT = re.compile(r"(?<=\S)[ \t]*(\r?\n)[ \t]*\r?\n")
_OPEN_BLANK_LINE = re.compile(r"\r?\n[ \t]*\r?\Z")
_TAB_COLUMNS = 8


class StopKind(StrEnum):
    """What a rule looks for."""

    NONE = "none"
    FIRST_LINE = "first_line"
    FIRST_TEXT_LINE = "first_text_line"
    BLANK_LINE = "blank_line"
    DEDENT = "dedent"
    BLOCK = "block"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class StopScan:
    """What a rule sees in the text so far.

    Args:
        cut: Characters to keep when the completion ends here; None while it goes on.
        safe_chars: Characters that no later text can cut away.
    """

    cut: int | None
    safe_chars: int


@dataclass(frozen=True, slots=True)
class StopRule:
    """A named rule; ``texts`` are the strings that the ``text`` kind stops before."""

    name: str
    kind: StopKind
    texts: tuple[str, ...] = ()

    def scan(
        self, text: str, *, prefix: str = "", suffix: str = "", final: bool = False
    ) -> StopScan:
        """Look for the end of a completion.

        Args:
            text: Everything generated so far.
            prefix: The text before the cursor.
            suffix: The text after it.
            final: Whether no more text will come, so that nothing needs to be held back.
        """
        cut = _find_cut(self, text, prefix, suffix)
        if cut is not None and self.kind is not StopKind.TEXT and is_own_line(prefix, suffix):
            cut = _after_line_end(text, cut)
        safe_chars = len(text) if final else _safe_chars(self, text)
        if cut is None or (self.kind is StopKind.TEXT and safe_chars < cut):
            return StopScan(None, safe_chars)
        return StopScan(cut, cut)

    def missing_line_end(self, text: str, *, prefix: str = "", suffix: str = "") -> str:
        """Return what closes the line of a completion that the model ended; empty for nothing.

        Args:
            text: The completion.
            prefix: The text before the cursor.
            suffix: The text after it.
        """
        is_open = bool(text) and not text.endswith("\n") and is_own_line(prefix, suffix)
        if not is_open or self.kind in {StopKind.NONE, StopKind.TEXT}:
            return ""
        return "\r\n" if prefix.endswith("\r\n") else "\n"


NONE = StopRule("none", StopKind.NONE)
FIRST_LINE = StopRule("first_line", StopKind.FIRST_LINE)
FIRST_TEXT_LINE = StopRule("first_text_line", StopKind.FIRST_TEXT_LINE)
BLANK_LINE = StopRule("blank_line", StopKind.BLANK_LINE)
DEDENT = StopRule("dedent", StopKind.DEDENT)
BLOCK = StopRule("block", StopKind.BLOCK)
"""Ends with the cursor's line where other text stands on it, elsewhere like ``DEDENT``."""

STOP_RULES = {
    rule.name: rule for rule in (NONE, FIRST_LINE, FIRST_TEXT_LINE, BLANK_LINE, DEDENT, BLOCK)
}


def stop_at(*texts: str) -> StopRule:
    """Return a rule that ends a completion before the first of some strings.

    Raises:
        InvalidSettingError: No string was given, or an empty one.
    """
    if not texts or not all(texts):
        raise InvalidSettingError(
            f"stop strings are {list(texts)!r}; an empty one would end every completion at once",
            hint="give one or more strings of at least one character",
        )
    return StopRule("text", StopKind.TEXT, tuple(texts))


def stop_rule(name: str) -> StopRule:
    """Return a rule by name.

    Raises:
        InvalidSettingError: No rule has that name.
    """
    if name not in STOP_RULES:
        raise InvalidSettingError(
            f"there is no stop rule {name!r}, so completions would not end where you expect",
            hint=f"use one of: {', '.join(STOP_RULES)}",
        )
    return STOP_RULES[name]


def is_own_line(prefix: str, suffix: str) -> bool:
    """Tell whether the cursor stands at a line's start before other text of that line.

    What is inserted there needs a line end of its own, or it runs into the text after it.
    """
    return prefix[-1:] in {"", "\n"} and suffix[:1] not in {"", "\n", "\r"}


def _find_cut(rule: StopRule, text: str, prefix: str, suffix: str) -> int | None:
    if rule.kind is StopKind.FIRST_LINE:
        return _start(_FIRST_NEWLINE.search(text))
    if rule.kind is StopKind.FIRST_TEXT_LINE:
        return _text_line_cut(text)
    if rule.kind is StopKind.BLANK_LINE:
        return _start(_BLANK_LINE_AFTER_TEXT.search(text), group=1)
    if rule.kind is StopKind.DEDENT:
        return _dedent_cut(text, prefix)
    if rule.kind is StopKind.BLOCK:
        line = _cursor_line(prefix) + suffix[: (suffix + "\n").index("\n")]
        return _text_line_cut(text) if line.strip() else _dedent_cut(text, prefix)
    if rule.kind is StopKind.TEXT:
        places = [place for stop in rule.texts if (place := text.find(stop)) >= 0]
        return min(places, default=None)
    return None


def _start(match: re.Match[str] | None, group: int = 0) -> int | None:
    return None if match is None else match.start(group)


def _after_line_end(text: str, cut: int) -> int:
    match = _FIRST_NEWLINE.match(text, cut)
    return cut if match is None else match.end()


def _text_line_cut(text: str) -> int | None:
    return _start(_NEWLINE_AFTER_TEXT.search(text), group=1)


def _cursor_line(prefix: str) -> str:
    return prefix[prefix.rfind("\n") + 1 :]


def _dedent_cut(text: str, prefix: str) -> int | None:
    """Find the first line that stands left of the line that the completion began in."""
    cursor_line = _cursor_line(prefix)
    reference: int | None = None
    start, end = -len(cursor_line), 0
    for line in (cursor_line + text).split("\n"):
        if line.strip():
            columns = _indent_columns(line)
            if reference is not None and columns < reference:
                return max(end, 0)
            reference = columns if reference is None else reference
            end = start + len(line.rstrip("\r"))
        start += len(line) + 1
    return None


def _indent_columns(line: str) -> int:
    expanded = line.expandtabs(_TAB_COLUMNS)
    return len(expanded) - len(expanded.lstrip(" "))


def _safe_chars(rule: StopRule, text: str) -> int:
    if rule.kind in {StopKind.FIRST_LINE, StopKind.FIRST_TEXT_LINE}:
        return len(text.rstrip("\r"))
    if rule.kind is StopKind.BLANK_LINE:
        match = _OPEN_BLANK_LINE.search(text)
        return len(text.rstrip("\r")) if match is None else match.start()
    if rule.kind in {StopKind.DEDENT, StopKind.BLOCK}:
        return len(text.rstrip())
    if rule.kind is StopKind.TEXT:
        return len(text) - max(_overlap(text, stop) for stop in rule.texts)
    return len(text)


def _overlap(text: str, stop: str) -> int:
    """Count the last characters of the text that may be the beginning of a stop string."""
    longest = min(len(stop) - 1, len(text))
    return next((size for size in range(longest, 0, -1) if text.endswith(stop[:size])), 0)
