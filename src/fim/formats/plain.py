"""Plain left-to-right text: what an untrained model does best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.formats.base import answer, control, select_ids, unique
from fim.types import FimExample, Segment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fim.formats.families import PlainTokens


@dataclass(frozen=True, slots=True)
class LeftToRightFormat:
    """The prefix alone, then the middle: no suffix, no context, no path.

    It is the baseline that an untrained model is measured in, and the layout of plain code rows. In
    a family whose prompts begin with a token of their own, that token comes first. Elsewhere an
    empty prefix is rendered as the token that separates documents, since a model cannot be asked
    with nothing.
    """

    tokens: PlainTokens
    anchor_lines: int = 0
    name: str = "left-to-right"
    version: int = 1
    order: str = "l2r"

    @property
    def family(self) -> str:
        """Model family whose document token is used."""
        return self.tokens.family

    @property
    def end_token(self) -> str:
        """Token that is trained as the end of the middle."""
        return self.tokens.document_end

    @property
    def pad_token(self) -> str:
        """Token that fills batches."""
        return self.tokens.pad

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """Tokens that end a generation, the end token first."""
        return unique(self.tokens.document_end, *self.tokens.other_stops)

    @property
    def control_tokens(self) -> Mapping[str, int | None]:
        """Every control token in use with the id that it must have."""
        opening = () if self.tokens.bos is None else (self.tokens.bos,)
        return select_ids(self.tokens.ids, *self.stop_tokens, self.tokens.pad, *opening)

    def render(self, example: FimExample, *, with_middle: bool = True) -> tuple[Segment, ...]:
        """Return the prompt's segments, then the trained middle and end when asked for."""
        opening = control(self.tokens.bos or self.tokens.document_end)
        prefix = Segment(SegmentKind.PREFIX, example.prefix)
        is_opened = self.tokens.bos is not None or not example.prefix
        prompt = (*((opening,) if is_opened else ()), *((prefix,) if example.prefix else ()))
        return prompt + answer(example, self.end_token) if with_middle else prompt
