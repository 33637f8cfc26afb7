"""Segments of a row on a terminal: one colour per kind, trained text marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.types import SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

TRAINED_MARK = "#"
GIVEN_MARK = "."
_STYLES: Mapping[SegmentKind, str] = {
    SegmentKind.CONTROL: "magenta",
    SegmentKind.SCAFFOLD: "dim",
    SegmentKind.CONTEXT: "cyan",
    SegmentKind.PREFIX: "blue",
    SegmentKind.SUFFIX: "yellow",
    SegmentKind.ANCHOR: "bright_blue",
    SegmentKind.MIDDLE: "green",
    SegmentKind.END: "red",
}


@dataclass(frozen=True, slots=True)
class ShownSegment:
    """A segment to show; ``num_tokens`` is None where nothing was tokenised."""

    kind: SegmentKind
    text: str
    trained: bool
    num_tokens: int | None = None


def show_segments(console: Console, segments: Iterable[ShownSegment]) -> None:
    """Print each segment under a line with its mark (``#`` trained), kind and token count."""
    from rich.text import Text

    for segment in segments:
        mark = TRAINED_MARK if segment.trained else GIVEN_MARK
        count = "" if segment.num_tokens is None else f" {segment.num_tokens} tokens"
        console.print(Text(f"{mark} {segment.kind.value}{count}", style="bold"))
        if segment.text:
            style = _STYLES[segment.kind] + (" underline" if segment.trained else "")
            console.print(Text(_indented(segment.text), style=style), soft_wrap=True)


def _indented(text: str) -> str:
    return "\n".join(f"    {_visible(line)}" for line in text.split("\n"))


def _visible(line: str) -> str:
    """Show what a terminal would act on or swallow as an escape."""
    return "".join(
        each if each.isprintable() or each == "\t" else ascii(each)[1:-1] for each in line
    )
