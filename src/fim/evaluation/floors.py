"""Trivial answers that any model has to beat."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.errors import EmptyDatasetError
from fim.inference.generate import END
from fim.types import Completion

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fim.inference import StopRule
    from fim.types import FimExample, Progress


@dataclass(frozen=True, slots=True)
class Floor:
    """A completer without a model.

    Args:
        name: What it is called in tables.
        answer: Returns the text to insert for an example, without looking at its middle.
    """

    name: str
    answer: Callable[[FimExample], str]

    def complete_batch(
        self,
        examples: Sequence[FimExample],
        *,
        stop: StopRule | None = None,
        max_new_tokens: int | None = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """Return the floor's answer for every example; stop rule and limit do not apply."""
        del stop, max_new_tokens
        if progress:
            progress.advance(len(examples))
        return [Completion(self.answer(example), (), END, 0.0) for example in examples]


def empty_answer(_example: FimExample) -> str:
    """Return nothing."""
    return ""


def previous_line(example: FimExample) -> str:
    """Return the last filled line above the cursor's line.

    Its indentation is dropped where the cursor's line already has text or indentation.
    """
    *above, cursor_line = example.prefix.split("\n")
    line = next((text for text in reversed(above) if text.strip()), "").rstrip("\r")
    return line.lstrip() if cursor_line else line


EMPTY = Floor("empty answer", empty_answer)
PREVIOUS_LINE = Floor("previous line", previous_line)


def best_constant(training: Sequence[FimExample]) -> Floor:
    """Return the floor that always gives the most frequent middle of the training examples.

    Raises:
        EmptyDatasetError: There are no examples.
    """
    if not training:
        raise EmptyDatasetError(
            "there are no training examples, so there is no most frequent middle",
            hint="build a data set first: fim data build",
        )
    counts = Counter(example.middle for example in training if example.middle.strip())
    constant = min(counts.items(), key=lambda item: (-item[1], item[0]))[0] if counts else ""
    return Floor("best constant", lambda _example: constant)
