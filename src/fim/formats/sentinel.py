"""What all sentinel formats share: tokens, stops and the frame of a prompt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.formats.base import answer, control, select_ids, unique
from fim.types import Segment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fim.formats.families import SentinelTokens
    from fim.types import FimExample

_TEXT_KINDS = frozenset(
    {SegmentKind.SCAFFOLD, SegmentKind.CONTEXT, SegmentKind.PREFIX, SegmentKind.ANCHOR}
)


@dataclass(frozen=True, slots=True)
class SentinelFormat:
    """A format whose parts stand between sentinel tokens; a subclass gives the order of the parts.

    A family's own first token (``<s>``, ``<bos>``) is placed by id, once.
    """

    tokens: SentinelTokens
    anchor_lines: int = 0
    name: str = ""
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
    def control_tokens(self) -> Mapping[str, int | None]:
        """Every control token in use with the id that it must have; None where any id will do."""
        tokens = self.tokens
        parts = (
            tokens.prefix,
            tokens.suffix,
            tokens.middle,
            tokens.file_separator,
            tokens.pad,
            *self.stop_tokens,
            tokens.repo_name,
            tokens.bos,
        )
        return select_ids(tokens.ids, *(token for token in parts if token is not None))

    def render(self, example: FimExample, *, with_middle: bool = True) -> tuple[Segment, ...]:
        """Return the prompt's segments, then the trained middle and end when asked for."""
        opening = () if self.tokens.bos is None else (control(self.tokens.bos),)
        prompt = (*opening, *self._prompt(example))
        return prompt + answer(example, self.end_token) if with_middle else prompt

    def _prompt(self, example: FimExample) -> Iterator[Segment]:
        raise NotImplementedError

    def _middle_token(self) -> Iterator[Segment]:
        if self.tokens.middle is not None:
            yield control(self.tokens.middle)

    def _spaced(self, *segments: Segment) -> Sequence[Segment]:
        """Return the segments after the prefix token, with the family's leading space if any."""
        if not self.tokens.begins_with_space:
            return segments
        for index, segment in enumerate(segments):
            if segment.kind in _TEXT_KINDS and segment.text:
                spaced = replace(segment, text=f" {segment.text}")
                return (*segments[:index], spaced, *segments[index + 1 :])
        return segments
