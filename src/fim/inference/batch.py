"""Many completions at once: their texts, times and gold scores while the batch runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fim.inference.completion_stream import completion_of
from fim.inference.generate import LENGTH, GeneratedIds, GenerationWatcher
from fim.inference.healing import HealedPrompt
from fim.inference.text_stream import CompletionText
from fim.types import Completion, EncodedExample, Progress


@dataclass(frozen=True, slots=True)
class GoldIds:
    """What follows an asked prompt in the row of a true answer.

    Args:
        ids: The rest of the row.
        num_before: How many of them still belong to the row's own prompt.
    """

    ids: tuple[int, ...]
    num_before: int


class BatchWatcher(GenerationWatcher):
    """Follows the texts of a batch while it is generated.

    Args:
        texts: The growing text of each prompt's answer.
        gold: True answers by index, to be scored on the way.
        progress: Is advanced by the answers done.
    """

    def __init__(
        self,
        texts: Sequence[CompletionText],
        gold: Mapping[int, GoldIds],
        progress: Progress | None,
    ) -> None:
        super().__init__({index: each.ids for index, each in gold.items()})
        self._gold = gold
        self.losses: dict[int, list[float]] = {}
        self._texts = texts
        self._progress = progress
        self._started = time.perf_counter()
        self._seconds: dict[int, float] = {}

    def token(self, index: int, token_id: int) -> str | None:
        """Take an id of one text and return the name of the rule that ends it, if one does."""
        self._texts[index].push(token_id)
        return self._texts[index].stopped_by

    def scored(self, index: int, losses: list[float]) -> None:
        """Keep the losses of a true answer."""
        self.losses[index] = losses[self._gold[index].num_before :]

    def done(self, index: int) -> None:
        """Note the time at which one text was complete."""
        self._seconds[index] = time.perf_counter() - self._started
        if self._progress:
            self._progress.advance(len(self._seconds))

    def completions(
        self, answers: Sequence[GeneratedIds], prompts: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        """Return the finished completions in order."""
        completions = []
        for index, (text, answer) in enumerate(zip(self._texts, answers, strict=True)):
            text.finish(truncated=answer.stop_reason == LENGTH)
            completions.append(completion_of(text, answer, prompts[index], self._seconds[index]))
        return completions


def scorable_gold(
    rows: Mapping[int, EncodedExample], asked: Sequence[HealedPrompt]
) -> dict[int, GoldIds]:
    """Return the true answers of the rows that begin with the prompt that is asked anyway."""
    found = {}
    for index, row in rows.items():
        size = len(asked[index].ids)
        if size <= row.prompt_length and row.input_ids[:size] == asked[index].ids:
            found[index] = GoldIds(row.input_ids[size:], row.prompt_length - size)
    return found
