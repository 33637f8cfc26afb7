"""Sentinel formats that put the prefix first: classic and anchored, alone or in a repository."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.formats.base import control, scaffold
from fim.formats.sentinel import SentinelFormat
from fim.formats.surroundings import file_block, surround
from fim.types import FimExample, Segment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["InfillFormat", "PsmFormat", "RepoFormat", "file_block", "split_at_anchor"]

INFILL_PROJECT = "myproject"
INFILL_FILE = "filename"
INFILL_UNNAMED = "tmp"


@dataclass(frozen=True, slots=True)
class PsmFormat(SentinelFormat):
    """Prefix, suffix, middle between sentinel tokens.

    Classic: ``[PRE] prefix [SUF] suffix [MID]`` and then the middle. Anchored (``anchor_lines``
    above 0): ``[PRE] head [SUF] suffix [MID] tail`` and then the middle, where the tail is the
    cursor's line up to the cursor and the ``anchor_lines`` lines above it; the tail is given, never
    trained. Context items stand in front, in the way of the family; for Qwen each as
    ``[FILE] path⏎text``, followed by the current file's ``[FILE] path⏎``.

    Source:
        QwenLM/Qwen2.5-Coder README, "File-level" and "Repository-level" code completion; the
        context of other families as in ``fim.formats.surroundings``.
    """

    name: str = "psm"

    def _prompt(self, example: FimExample) -> Iterator[Segment]:
        around = surround(self.tokens, example)
        yield from around.before
        yield from self._hole(example, around.inside)

    def _hole(self, example: FimExample, inside: tuple[Segment, ...] = ()) -> Iterator[Segment]:
        head, tail = split_at_anchor(example.prefix, self.anchor_lines)
        yield control(self.tokens.prefix)
        yield from self._spaced(*inside, Segment(SegmentKind.PREFIX, head))
        yield control(self.tokens.suffix)
        yield Segment(SegmentKind.SUFFIX, example.suffix)
        yield from self._middle_token()
        if self.anchor_lines:
            yield Segment(SegmentKind.ANCHOR, tail)


@dataclass(frozen=True, slots=True)
class RepoFormat(PsmFormat):
    """The repository layout: always with the repository's name and the file's path.

    ``[REPO] name⏎``, each context item as ``[FILE] path⏎text``, then ``[FILE] path⏎`` and the hole
    of ``psm``.

    Source:
        QwenLM/Qwen2.5-Coder README, "Repository-level code completion", without its stray space
        after the path.
    """

    name: str = "repo"

    def _prompt(self, example: FimExample) -> Iterator[Segment]:
        around = surround(self.tokens, example, is_always_headed=True)
        yield from around.before
        yield from self._hole(example, around.inside)


@dataclass(frozen=True, slots=True)
class InfillFormat(PsmFormat):
    r"""The prompt that llama.cpp's server builds from a request to ``/infill``.

    ``[REPO] myproject⏎``, each chunk as ``[FILE] name⏎`` and its text as it is, then
    ``[FILE] filename⏎`` (literally: the server does not know the file) and the hole of ``psm``.
    The server's own cuts depend on its batch and context size and are not imitated. With anchor
    lines the prompt is no longer the one of ``/infill``: send it to ``/completion``.

    Source:
        ggml-org/llama.cpp, ``format_infill`` in ``tools/server``.
    """

    name: str = "infill"

    def _prompt(self, example: FimExample) -> Iterator[Segment]:
        separator = str(self.tokens.file_separator)
        yield control(str(self.tokens.repo_name))
        yield scaffold(f"{INFILL_PROJECT}\n")
        for item in example.context:
            yield control(separator)
            yield scaffold(f"{item.path or INFILL_UNNAMED}\n")
            yield Segment(SegmentKind.CONTEXT, item.text)
        yield control(separator)
        yield scaffold(f"{INFILL_FILE}\n")
        yield from self._hole(example)


def split_at_anchor(prefix: str, anchor_lines: int) -> tuple[str, str]:
    r"""Split a prefix into its head and the tail that an anchored format puts last.

    The tail is the text since the last newline and the ``anchor_lines`` lines above it. Without
    anchor lines the whole prefix is the head.

    >>> split_at_anchor("a\nb\nc\nde", 1)
    ('a\nb\n', 'c\nde')
    """
    if anchor_lines <= 0:
        return prefix, ""
    start = len(prefix)
    for _ in range(anchor_lines + 1):
        newline = prefix.rfind("\n", 0, start)
        if newline < 0:
            return "", prefix
        start = newline
    return prefix[: start + 1], prefix[start + 1 :]
