"""The chat format: a system sentence, a user turn with the hole, the middle as the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.formats.base import UNKNOWN_PATH, answer, control, scaffold, select_ids, unique
from fim.types import FimExample, Segment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fim.formats.families import ChatTokens

SYSTEM_SENTENCE = (
    "You fill holes in source code. Reply with exactly the text that belongs in the hole: "
    "no explanation, no Markdown."
)
FILL_MARKER = "<FILL_HERE>"

_BACKTICKS = re.compile(r"`+")
_FENCE_TAGS: Mapping[str, str] = {"c++": "cpp", "c#": "csharp", "f#": "fsharp", "shell": "bash"}
_TAG = re.compile(r"[a-z0-9_.-]{1,24}")


@dataclass(frozen=True, slots=True)
class ChatMlFormat:
    """A question in ChatML whose answer is the middle.

    The user turn holds the context items in fences, each under its path, and then one fence with
    the prefix, a marker and the suffix. Fences are longer than any run of backticks in the code,
    and the marker is one that the code does not hold. Turn tokens and the empty think block of
    thinking models are placed by id and belong to the prompt; the middle is appended as ids.
    """

    tokens: ChatTokens
    anchor_lines: int = 0
    name: str = "chatml"
    version: int = 1
    order: str = "chat"

    @property
    def family(self) -> str:
        """Model family whose turn tokens are used."""
        return self.tokens.family

    @property
    def end_token(self) -> str:
        """Token that is trained as the end of the answer."""
        return self.tokens.turn_end

    @property
    def pad_token(self) -> str:
        """Token that fills batches."""
        return self.tokens.document_end

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """Tokens that end a generation, the end token first."""
        return unique(self.tokens.turn_end, self.tokens.document_end)

    @property
    def control_tokens(self) -> Mapping[str, int | None]:
        """Every control token in use with the id that it must have."""
        think = self.tokens.think or ()
        return select_ids(self.tokens.ids, self.tokens.turn_start, *self.stop_tokens, *think)

    def render(self, example: FimExample, *, with_middle: bool = True) -> tuple[Segment, ...]:
        """Return the prompt's segments, then the trained middle and end when asked for."""
        prompt = (
            *self._turn("system", scaffold(SYSTEM_SENTENCE)),
            *self._turn("user", *_question(example)),
            *self._answer_header(),
        )
        return prompt + answer(example, self.end_token) if with_middle else prompt

    def _turn(self, role: str, *content: Segment) -> Iterator[Segment]:
        yield control(self.tokens.turn_start)
        yield from _merge_scaffolds((scaffold(f"{role}\n"), *content))
        yield control(self.tokens.turn_end)
        yield scaffold("\n")

    def _answer_header(self) -> Iterator[Segment]:
        yield control(self.tokens.turn_start)
        yield scaffold("assistant\n")
        if self.tokens.think is not None:
            opening, closing = self.tokens.think
            yield control(opening)
            yield scaffold("\n\n")
            yield control(closing)
            yield scaffold("\n\n")


def fence_for(*texts: str) -> str:
    """Return a Markdown fence that none of the texts can close.

    >>> fence_for("a ``` b")
    '````'
    """
    longest = max((len(run) for text in texts for run in _BACKTICKS.findall(text)), default=0)
    return "`" * max(3, longest + 1)


def marker_for(*texts: str) -> str:
    """Return a marker of the hole that stands in none of the texts."""
    marker, number = FILL_MARKER, 1
    while any(marker in text for text in texts):
        number += 1
        marker = f"{FILL_MARKER[:-1]}_{number}>"
    return marker


def fence_tag(language: str) -> str:
    """Return the language tag of a fence, empty when the name is not fit for one.

    >>> fence_tag("C++")
    'cpp'
    """
    lowered = language.strip().lower()
    tag = _FENCE_TAGS.get(lowered, lowered)
    return tag if _TAG.fullmatch(tag) else ""


def _question(example: FimExample) -> Iterator[Segment]:
    for item in example.context:
        fence = fence_for(item.text)
        text = item.text if item.text.endswith("\n") else f"{item.text}\n"
        block = f"{item.path or UNKNOWN_PATH}:\n{fence}\n{text}{fence}\n\n"
        yield Segment(SegmentKind.CONTEXT, block)
    marker = marker_for(example.prefix, example.suffix)
    fence = fence_for(example.prefix, example.suffix)
    place = f" of {example.path}" if example.path else ""
    yield scaffold(
        f"Fill the hole {marker} in this code{place}:\n{fence}{fence_tag(example.language)}\n"
    )
    yield Segment(SegmentKind.PREFIX, example.prefix)
    yield scaffold(marker)
    yield Segment(SegmentKind.SUFFIX, example.suffix)
    yield scaffold(f"\n{fence}")


def _merge_scaffolds(segments: tuple[Segment, ...]) -> Iterator[Segment]:
    pending = ""
    for segment in segments:
        if segment.kind is SegmentKind.SCAFFOLD:
            pending += segment.text
            continue
        if pending:
            yield scaffold(pending)
            pending = ""
        yield segment
    if pending:
        yield scaffold(pending)
