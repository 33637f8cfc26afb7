"""The tags of files that mix markup with scripts, and which holes would cross them."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_TAG = re.compile(r"<(?P<closing>/?)(?P<name>[A-Za-z][\w.:-]*)|<!--|<!|<\?")
_FRONT_MATTER = re.compile(
    r"\s*---[ \t]*\r?\n(?P<code>.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE
)
_RAW = frozenset({"script", "style"})
_WALLS = frozenset({*_RAW, "template", "html", "head", "body"})
_VOID = frozenset(
    {
        *("area", "base", "br", "col", "embed", "hr", "img", "input"),
        *("link", "meta", "param", "source", "track", "wbr"),
    }
)
_TYPE = re.compile(r"\btype\s*=\s*[\"']?([\w/+.-]+)", re.IGNORECASE)
_LANG = re.compile(r"\blang\s*=\s*[\"']?([\w/+.-]+)", re.IGNORECASE)
_MAX_TAG_CHARS = 20_000
_SCRIPT_TYPES = frozenset(
    {"", "module", "text/javascript", "application/javascript", "text/babel", "text/typescript"}
)
_SCRIPT_LANGUAGES = frozenset({"", "js", "jsx", "javascript", "ts", "tsx", "typescript"})


@dataclass(frozen=True, slots=True)
class _Tag:
    start: int
    end: int
    name: str
    depth: int


@dataclass(frozen=True, slots=True)
class Markup:
    """Where the scripts and the tags of a text are.

    Args:
        scripts: First and last character of each script, between its tags.
        tags: The tags in order; those of scripts, styles and templates are walls.
    """

    scripts: tuple[tuple[int, int], ...]
    tags: tuple[_Tag, ...]

    def is_crossed_by(self, start: int, end: int) -> bool:
        """Tell whether a hole would cut through tags.

        A hole may lie inside one tag, with its end or without, between tags, or hold whole
        elements; never a tag of a script, a style or a template.
        """
        first = bisect_right(self.tags, start, key=lambda tag: tag.end)
        touched = list(takewhile(lambda tag: tag.start < end, self.tags[first:]))
        if start == end or not touched:
            return False
        if any(tag.name in _WALLS for tag in touched):
            return True
        if len(touched) == 1 and touched[0].start < start and end <= touched[0].end:
            return False
        return not _is_whole(touched, start, end)

    def end_before_tags(self, start: int, end: int) -> int:
        """Return where a hole that would cut through tags must end: with its tag, or before one."""
        first = bisect_right(self.tags, start, key=lambda tag: tag.end)
        if first == len(self.tags) or self.tags[first].start >= end:
            return end
        tag = self.tags[first]
        return min(end, tag.end if tag.start < start else tag.start)


def read_markup(text: str, *, has_front_matter: bool) -> Markup:
    """Return the scripts and the tags of a Vue, Svelte, Astro or HTML file.

    Args:
        text: The file.
        has_front_matter: Code between two lines ``---`` at the top is a script (Astro).
    """
    scripts: list[tuple[int, int]] = []
    tags: list[_Tag] = []
    position = 0
    front = _FRONT_MATTER.match(text) if has_front_matter else None
    if front is not None:
        scripts.append(front.span("code"))
        tags += [
            _Tag(front.start(), front.start("code"), "script", 1),
            _Tag(front.end("code"), front.end(), "script", -1),
        ]
        position = front.end()
    while (match := _TAG.search(text, position)) is not None:
        end = _tag_end(text, match)
        if end is None:
            position = match.end()
            continue
        if end > len(text):
            break
        name = (match["name"] or "").lower()
        tags.append(_Tag(match.start(), end, name, _depth(text, match, name, end)))
        position = end
        if name in _RAW and tags[-1].depth == 1:
            closing = re.compile(rf"</{name}\b", re.IGNORECASE).search(text, end)
            position = len(text) if closing is None else closing.start()
            if name == "script" and _is_script(text[match.start() : end]):
                scripts.append((end, position))
    return Markup(tuple(scripts), tuple(tags))


def uses_jsx(text: str) -> bool:
    """Tell whether a script tag asks for a language that has tags of its own."""
    return re.search(r"<script\b[^>]*\blang\s*=\s*[\"']?[jt]sx\b", text, re.IGNORECASE) is not None


def _is_script(tag: str) -> bool:
    kind, language = _TYPE.search(tag), _LANG.search(tag)
    is_known = (kind[1].lower() if kind else "") in _SCRIPT_TYPES
    return is_known and (language[1].lower() if language else "") in _SCRIPT_LANGUAGES


def _depth(text: str, match: re.Match[str], name: str, end: int) -> int:
    if not name or name in _VOID or text[end - 2 : end] == "/>":
        return 0
    return -1 if match["closing"] else 1


def _tag_end(text: str, match: re.Match[str]) -> int | None:
    """Return where a tag ends: None where it is no tag, beyond the text where it never ends."""
    if match["name"] is None:
        mark = "-->" if match[0] == "<!--" else ">"
        end = text.find(mark, match.end())
        return len(text) + 1 if end < 0 else end + len(mark)
    depth = 0
    position = match.end()
    while position < min(len(text), match.end() + _MAX_TAG_CHARS):
        character = text[position]
        if character in "\"'" and depth == 0:
            position = text.find(character, position + 1)
            if position < 0:
                return None
        elif character in "{}":
            depth += 1 if character == "{" else -1
        elif character == ">" and depth <= 0:
            return position + 1
        elif character == "<" and depth <= 0:
            return None
        position += 1
    return len(text) + 1


def _is_whole(tags: Sequence[_Tag], start: int, end: int) -> bool:
    """Tell whether a hole holds these tags whole, and closes what it opens."""
    if tags[0].start < start or tags[-1].end > end:
        return False
    is_open: list[str] = []
    for tag in tags:
        if tag.depth == 1:
            is_open.append(tag.name)
        elif tag.depth == -1 and (not is_open or is_open.pop() != tag.name):
            return False
    return not is_open
