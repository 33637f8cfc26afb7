"""Sentinel tokens inside a chat turn: how Qwen3-Coder documents fill-in-the-middle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.formats.base import answer, control, scaffold, select_ids, unique
from fim.formats.psm import split_at_anchor
from fim.formats.surroundings import surround
from fim.types import FimExample, Segment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fim.formats.families import ChatTokens, SentinelTokens

NATIVE_SYSTEM_SENTENCE = "You are a code completion assistant."


@dataclass(frozen=True, slots=True)
class ChatMlNativeFormat:
    """The hole of ``psm`` as a user turn of ChatML; the middle is the assistant's answer.

    Context items stand in the user turn, in front of the hole, as in ``psm``. There is no think
    block: the models that document this layout do not think. Anchored, the tail of the prefix is
    the given beginning of the answer, so that the cursor is the end of the prompt.

    Source:
        QwenLM/Qwen3-Coder README, "Fill in the middle with Qwen3-Coder".
    """

    tokens: SentinelTokens
    turns: ChatTokens
    anchor_lines: int = 0
    name: str = "chatml-native"
    version: int = 1
    order: str = "chat"

    @property
    def family(self) -> str:
        """Model family whose sentinel tokens are used."""
        return self.tokens.family

    @property
    def end_token(self) -> str:
        """Token that is trained as the end of the answer."""
        return self.turns.turn_end

    @property
    def pad_token(self) -> str:
        """Token that fills batches."""
        return self.tokens.pad

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """Tokens that end a generation, the end token first."""
        return unique(self.turns.turn_end, self.tokens.end, *self.tokens.other_stops)

    @property
    def control_tokens(self) -> Mapping[str, int | None]:
        """Every control token in use with the id that it must have."""
        return select_ids(self.tokens.ids, *unique(self.turns.turn_start, *self.stop_tokens))

    def render(self, example: FimExample, *, with_middle: bool = True) -> tuple[Segment, ...]:
        """Return the prompt's segments, then the trained middle and end when asked for."""
        head, tail = split_at_anchor(example.prefix, self.anchor_lines)
        prompt = (*self._turns(example, head), *self._tail(tail))
        return prompt + answer(example, self.end_token) if with_middle else prompt

    def _turns(self, example: FimExample, head: str) -> Iterator[Segment]:
        start, end = control(self.turns.turn_start), control(self.turns.turn_end)
        yield from (start, scaffold(f"system\n{NATIVE_SYSTEM_SENTENCE}"), end, scaffold("\n"))
        yield from (start, scaffold("user\n"))
        yield from surround(self.tokens, example).before
        yield control(self.tokens.prefix)
        yield Segment(SegmentKind.PREFIX, head)
        yield control(self.tokens.suffix)
        yield Segment(SegmentKind.SUFFIX, example.suffix)
        yield control(str(self.tokens.middle))
        yield from (end, scaffold("\n"), start, scaffold("assistant\n"))

    def _tail(self, tail: str) -> Iterator[Segment]:
        if self.anchor_lines:
            yield Segment(SegmentKind.ANCHOR, tail)
