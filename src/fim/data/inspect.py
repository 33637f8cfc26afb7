"""What a training row really holds, for people and for scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from fim.data.encode import ExampleEncoder
    from fim.types import Cut, FimExample, SegmentKind


@dataclass(frozen=True, slots=True)
class InspectedSegment:
    """A segment as the model sees it: the text of the ids that the budget left."""

    kind: SegmentKind
    text: str
    trained: bool
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Inspection:
    """A training row taken apart.

    ``prompt_ids`` are rendered on their own, without the middle; ``round_trip`` tells whether the
    middle and its end token decode to exactly the example's text; ``moved_chars`` says how many
    characters earlier than given the hole begins.
    """

    format: str
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    prompt_ids: tuple[int, ...]
    segments: tuple[InspectedSegment, ...]
    cut: Cut
    round_trip: bool
    moved_chars: int = 0

    def as_json(self) -> dict[str, object]:
        """Return the inspection as JSON-ready data."""
        return {
            "format": self.format,
            "input_ids": list(self.input_ids),
            "labels": list(self.labels),
            "prompt_ids": list(self.prompt_ids),
            "segments": [
                {
                    "kind": segment.kind.value,
                    "text": segment.text,
                    "trained": segment.trained,
                    "tokens": segment.num_tokens,
                }
                for segment in self.segments
            ],
            "cut": {
                "prefix_tokens": self.cut.prefix_tokens,
                "suffix_tokens": self.cut.suffix_tokens,
                "context_items": self.cut.context_items,
            },
            "round_trip": self.round_trip,
            "moved_chars": self.moved_chars,
        }


def inspect_example(
    given: FimExample,
    encoder: ExampleEncoder,
    *,
    align: Callable[[FimExample], FimExample] | None = None,
) -> Inspection:
    """Encode an example as a training row and as a prompt, and show both.

    Args:
        given: The example as it lies in the set.
        encoder: Makes rows and prompts.
        align: Moves the beginning of its hole as training does; None leaves it.

    Raises:
        InvalidExampleError: The example does not fit into a row.
    """
    example = given if align is None else align(given)
    row = encoder.encode(example)
    num_answer_tokens = len(row.input_ids) - row.prompt_length
    prompt = encoder.prompt(example, num_middle_tokens=num_answer_tokens - 1)
    segments = tuple(
        InspectedSegment(
            kind=segment.kind,
            text=encoder.tokenizer.decode(segment.ids),
            trained=segment.trained,
            num_tokens=len(segment.ids),
        )
        for segment in row.segments
    )
    return Inspection(
        format=encoder.resolved.format.name,
        input_ids=row.input_ids,
        labels=row.labels,
        prompt_ids=prompt.ids,
        segments=segments,
        cut=row.cut,
        round_trip=encoder.round_trips(row),
        moved_chars=len(given.prefix) - len(example.prefix),
    )
