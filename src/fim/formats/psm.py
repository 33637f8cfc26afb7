"""Sentinel formats that put the prefix first: classic and anchored PSM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.formats.base import UNKNOWN_PATH, answer, control, scaffold, select_ids, unique
from fim.types import ContextItem, FimExample, Segment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fim.formats.families import SentinelTokens


@dataclass(frozen=True, slots=True)
class PsmFormat:
    """Prefix, suffix, middle between sentinel tokens.

    Classic: ``[PRE] prefix [SUF] suffix [MID]`` and then the middle. Anchored (``anchor_lines``
    above 0): ``[PRE] head [SUF] suffix [MID] tail`` and then the middle, where the tail is the
    cursor's line up to the cursor and the ``anchor_lines`` lines above it; the tail is given, never
    trained. Context items stand in front, each as ``[FILE] path⏎text``, followed by the current
    file's ``[FILE] path⏎``.

    Source:
        QwenLM/Qwen2.5-Coder README, "File-level" and "Repository-level" code completion.
    """

    tokens: SentinelTokens
    anchor_lines: int = 0
    name: str = "psm"
    version: int = 1
    order: str = "psm"

    @property
    def family(self) -> str:
        """Model family whose sentinel tokens are used."""
        return self.tokens.family

    @property
    def end_token(self) -> str:
        """Token that is trained as the end of the middle."""
        return self.tokens.end

    @property
    def pad_token(self) -> str:
        """Token that fills batches."""
        return self.tokens.pad

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """Tokens that end a generation, the end token first."""
        return unique(self.tokens.end, *self.tokens.other_stops)

    @property
    def control_tokens(self) -> Mapping[str, int]:
        """Every control token in use with the id that it must have."""
        tokens = self.tokens
        return select_ids(
            tokens.ids,
            tokens.prefix,
            tokens.suffix,
            tokens.middle,
            tokens.file_separator,
            tokens.pad,
            *self.stop_tokens,
        )

    def render(self, example: FimExample, *, with_middle: bool = True) -> tuple[Segment, ...]:
        """Return the prompt's segments, then the trained middle and end when asked for."""
        prompt = (*self._context(example), *self._hole(example))
        return prompt + answer(example, self.end_token) if with_middle else prompt

    def _context(self, example: FimExample) -> Iterator[Segment]:
        if not example.context:
            return
        for item in example.context:
            yield control(self.tokens.file_separator)
            yield Segment(SegmentKind.CONTEXT, file_block(item))
        yield control(self.tokens.file_separator)
        yield scaffold(f"{example.path or UNKNOWN_PATH}\n")

    def _hole(self, example: FimExample) -> Iterator[Segment]:
        head, tail = split_at_anchor(example.prefix, self.anchor_lines)
        yield control(self.tokens.prefix)
        yield Segment(SegmentKind.PREFIX, head)
        yield control(self.tokens.suffix)
        yield Segment(SegmentKind.SUFFIX, example.suffix)
        yield control(self.tokens.middle)
        if self.anchor_lines:
            yield Segment(SegmentKind.ANCHOR, tail)


def file_block(item: ContextItem) -> str:
    """Return a context item as its path and its text, ending in a newline."""
    text = item.text if item.text.endswith("\n") else f"{item.text}\n"
    return f"{item.path or UNKNOWN_PATH}\n{text}"


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
