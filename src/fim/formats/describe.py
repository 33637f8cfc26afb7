"""A format explained: its tokens, its stops and a worked example."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.formats.registry import build_formats
from fim.types import ContextItem, FimExample, Segment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.formats.base import FimFormat

WORKED_EXAMPLE = FimExample(
    prefix="import math\n\n\ndef area(radius):\n    ret",
    middle="urn math.pi * radius**2",
    suffix="\n\n\nprint(area(2))\n",
    context=(ContextItem("UNIT = 'cm'\n", path="units.py", score=1.0),),
    language="Python",
    path="shapes.py",
    repo="geometry",
)


@dataclass(frozen=True, slots=True)
class FormatDescription:
    """One format in one family: ids, end, stops and the worked example's segments.

    ``layout`` names the parts of the worked example in order; an id of None means any id.
    """

    name: str
    version: int
    order: str
    family: str
    anchor_lines: int
    token_ids: Mapping[str, int | None]
    end_token: str
    stop_tokens: tuple[str, ...]
    pad_token: str
    layout: str
    segments: tuple[Segment, ...]

    def as_json(self) -> dict[str, object]:
        """Return the description as JSON-ready data."""
        return {
            "name": self.name,
            "version": self.version,
            "order": self.order,
            "family": self.family,
            "anchor_lines": self.anchor_lines,
            "token_ids": dict(self.token_ids),
            "end": self.end_token,
            "stops": list(self.stop_tokens),
            "pad": self.pad_token,
            "layout": self.layout,
            "segments": [
                {"kind": each.kind.value, "text": each.text, "trained": each.trained}
                for each in self.segments
            ],
        }


def describe_format(name: str, *, anchor_lines: int = 0) -> tuple[FormatDescription, ...]:
    """Explain a format in each of its families.

    Raises:
        UnknownFormatError: The registry does not hold the name.
        ConflictingSettingsError: Anchor lines were asked of a format that has no anchor.
    """
    return tuple(_describe(each) for each in build_formats(name, anchor_lines=anchor_lines))


def layout_of(segments: Sequence[Segment]) -> str:
    """Return a line that names the parts of a row: control tokens as they are, texts by kind."""
    parts = []
    for segment in segments:
        if segment.kind in (SegmentKind.CONTROL, SegmentKind.END):
            parts.append(segment.text)
        elif segment.kind is SegmentKind.SCAFFOLD:
            parts.append(repr(segment.text))
        elif segment.kind is SegmentKind.MIDDLE:
            parts.append("\u2192 middle")
        else:
            parts.append(segment.kind.value)
    return " ".join(parts)


def _describe(variant: FimFormat) -> FormatDescription:
    segments = variant.render(WORKED_EXAMPLE)
    return FormatDescription(
        name=variant.name,
        version=variant.version,
        order=variant.order,
        family=variant.family,
        anchor_lines=variant.anchor_lines,
        token_ids=variant.control_tokens,
        end_token=variant.end_token,
        stop_tokens=variant.stop_tokens,
        pad_token=variant.pad_token,
        layout=layout_of(segments),
        segments=segments,
    )
