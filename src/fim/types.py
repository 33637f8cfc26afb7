"""The vocabulary of fim: frozen data and protocols, no third-party import.

An *example* is raw text, *segments* are its rendering in a format, an *encoded example* is token
ids with labels, a *completion* is what a model answered.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

IGNORED_LABEL = -100


@dataclass(frozen=True, slots=True)
class ContextItem:
    """A piece of another file shown to the model.

    Args:
        text: The text itself.
        path: Path of the file it comes from, when known.
        score: Relevance, higher is better; None when unknown.
    """

    text: str
    path: str | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True)
class FimExample:
    """One hole: the text before it, the text in it and the text after it.

    ``context`` is ordered from the most to the least relevant item.
    """

    prefix: str
    middle: str
    suffix: str
    context: tuple[ContextItem, ...] = ()
    language: str = ""
    path: str | None = None
    repo: str | None = None
    id: str = ""
    document_id: str = ""
    span_kind: str = ""
    split: str = ""
    licence: str = ""


class SegmentKind(StrEnum):
    """What a piece of a rendered example is."""

    CONTROL = "control"
    SCAFFOLD = "scaffold"
    CONTEXT = "context"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    ANCHOR = "anchor"
    MIDDLE = "middle"
    END = "end"


TEXT_BEFORE_CURSOR = frozenset({SegmentKind.PREFIX, SegmentKind.ANCHOR})
"""Kinds of segments after which, at the end of a prompt, the cursor stands."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a rendered example, tokenised alone.

    ``CONTROL`` and ``END`` segments are one control token, placed by id. ``ANCHOR`` is the tail of
    the prefix that an anchored format forces after its middle token. All other kinds are plain text
    in which no control token is ever recognised.
    """

    kind: SegmentKind
    text: str
    trained: bool = False


@dataclass(frozen=True, slots=True)
class EncodedSegment:
    """A segment with the ids that the budget left of it."""

    kind: SegmentKind
    text: str
    ids: tuple[int, ...]
    trained: bool


@dataclass(frozen=True, slots=True)
class Cut:
    """What the budget took away, in tokens and in whole context items."""

    prefix_tokens: int = 0
    suffix_tokens: int = 0
    context_items: int = 0


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """The ids a model is asked with: everything before the first trained token."""

    ids: tuple[int, ...]
    segments: tuple[EncodedSegment, ...]
    cut: Cut


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """A training row.

    ``input_ids [T]`` and ``labels [T]``; labels are -100 where no loss is taken. The prompt is
    ``input_ids[:prompt_length]``; the middle and its end token follow it.
    """

    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    prompt_length: int
    segments: tuple[EncodedSegment, ...]
    cut: Cut
    example: FimExample


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered.

    Args:
        text: Exactly the text to insert.
        token_ids: Generated ids without the end token.
        stop_reason: ``end`` (a stop token), ``length``, or the name of a stop rule.
        milliseconds: Wall time from the request to the last token.
        prompt_ids: Ids that the model was asked with; empty when no model was asked.
    """

    text: str
    token_ids: tuple[int, ...]
    stop_reason: str
    milliseconds: float
    prompt_ids: tuple[int, ...] = ()


class Vocabulary(Protocol):
    """What a format needs to know about a tokenizer."""

    def control_token_id(self, token: str) -> int | None:
        """Return the id of a control token, or None when the tokenizer has no such single token."""
        ...


class TextTokenizer(Vocabulary, Protocol):
    """A tokenizer that never recognises control tokens in text."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text, without special tokens."""
        ...

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, control tokens included literally."""
        ...


class Progress(Protocol):
    """A sink for the progress of long work."""

    def start(self, stage: str, total: int | None) -> None:
        """Open a stage of ``total`` units (None when unknown)."""
        ...

    def advance(self, done: int, **facts: float | str) -> None:
        """Report the units done so far in the open stage and its current figures."""
        ...

    def finish(self, summary: str = "") -> None:
        """Close the open stage."""
        ...


@dataclass(frozen=True, slots=True)
class DropReport:
    """Counts of what went in, what stayed and why the rest was dropped."""

    seen: int = 0
    used: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return the counts as JSON-ready data, reasons sorted by name."""
        return {
            "seen": self.seen,
            "used": self.used,
            "dropped": {reason: self.dropped[reason] for reason in sorted(self.dropped)},
        }
