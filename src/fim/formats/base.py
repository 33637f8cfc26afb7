"""What every format offers, and a format bound to a tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fim.formats.record import FormatRecord, fingerprint_of
from fim.types import FimExample, Segment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Mapping

UNKNOWN_PATH = "unknown"


class FimFormat(Protocol):
    """A layout of an example for one model family; pure data in, pure data out."""

    @property
    def name(self) -> str:
        """Name in the registry."""
        ...

    @property
    def version(self) -> int:
        """Number that rises whenever the rendering changes."""
        ...

    @property
    def order(self) -> str:
        """Order of the parts: ``psm``, ``spm``, ``spm2``, ``codestral``, ``chat`` or ``l2r``."""
        ...

    @property
    def family(self) -> str:
        """Model family whose control tokens are used."""
        ...

    @property
    def anchor_lines(self) -> int:
        """Lines above the cursor's line that stand last in the prompt; 0 means a classic layout."""
        ...

    @property
    def end_token(self) -> str:
        """Token that is trained as the end of an answer."""
        ...

    @property
    def pad_token(self) -> str:
        """Token that fills batches; never the end token."""
        ...

    @property
    def stop_tokens(self) -> tuple[str, ...]:
        """Tokens that end a generation, the end token first."""
        ...

    @property
    def control_tokens(self) -> Mapping[str, int | None]:
        """Every control token in use with the id that it must have; None where any id will do."""
        ...

    def render(self, example: FimExample, *, with_middle: bool = True) -> tuple[Segment, ...]:
        """Return the prompt's segments, then the trained middle and end when asked for."""
        ...


@dataclass(frozen=True, slots=True)
class FormatSummary:
    """A line of the list of formats."""

    name: str
    version: int
    order: str
    families: tuple[str, ...]
    summary: str = ""

    def as_json(self) -> dict[str, object]:
        """Return the summary as JSON-ready data."""
        return {
            "name": self.name,
            "version": self.version,
            "order": self.order,
            "families": list(self.families),
            "summary": self.summary,
        }


@dataclass(frozen=True, slots=True)
class ResolvedFormat:
    """A format whose control tokens were found in a tokenizer under the expected ids."""

    format: FimFormat
    token_ids: Mapping[str, int]
    end_id: int
    stop_ids: tuple[int, ...]
    pad_id: int

    @property
    def fingerprint(self) -> str:
        """Hash of the rendering and of every id: equal hashes mean equal prompts."""
        return self.record().fingerprint

    def record(self) -> FormatRecord:
        """Return what is stored beside an adapter."""
        identity = FormatRecord(
            name=self.format.name,
            version=self.format.version,
            family=self.format.family,
            order=self.format.order,
            anchor_lines=self.format.anchor_lines,
            token_ids=dict(self.token_ids),
            end_id=self.end_id,
            stop_ids=self.stop_ids,
            fingerprint="",
        )
        return identity.with_fingerprint(fingerprint_of(identity, self.format.render))


def control(token: str) -> Segment:
    """Return a control token of the prompt."""
    return Segment(SegmentKind.CONTROL, token)


def scaffold(text: str) -> Segment:
    """Return text that the format itself adds to the prompt."""
    return Segment(SegmentKind.SCAFFOLD, text)


def answer(example: FimExample, end_token: str) -> tuple[Segment, Segment]:
    """Return the trained part of a row: the middle and its end token."""
    return (
        Segment(SegmentKind.MIDDLE, example.middle, trained=True),
        Segment(SegmentKind.END, end_token, trained=True),
    )


def select_ids(ids: Mapping[str, int | None], *tokens: str) -> dict[str, int | None]:
    """Return the expected ids of some tokens, each once, in the order given."""
    return {token: ids[token] for token in tokens}


def unique(*tokens: str) -> tuple[str, ...]:
    """Return tokens in order without repetitions."""
    return tuple(dict.fromkeys(tokens))
