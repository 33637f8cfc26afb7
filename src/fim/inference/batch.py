"""Many completions at once: their texts, times and gold scores while the batch runs."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from fim.inference.completion_stream import completion_of
from fim.inference.generate import LENGTH, GeneratedIds, GenerationWatcher
from fim.inference.healing import HealedPrompt
from fim.inference.text_stream import CompletionText
from fim.types import Completion, EncodedExample, Progress


class BatchWatcher(GenerationWatcher):
    """Follows the texts of a batch while it is generated.

    Args:
        texts: The growing text of each prompt's answer.
        gold: Ids of true answers by index, to be scored on the way.
        progress: Is advanced by the answers done.
        healed: The prompts, whose removed ids stand before the gold in the model's pass.
    """

    def __init__(
        self,
        texts: Sequence[CompletionText],
        gold: Mapping[int, Sequence[int]],
        progress: Progress | None,
        healed: Sequence[HealedPrompt],
    ) -> None:
        super().__init__({index: (*healed[index].removed, *ids) for index, ids in gold.items()})
        self._healed = healed
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
        self.losses[index] = losses[len(self._healed[index].removed) :]

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
    rows: Mapping[int, EncodedExample], prompts: Sequence[tuple[int, ...]]
) -> dict[int, tuple[int, ...]]:
    """Return the true answers of the rows whose prompt is the one that is asked anyway."""
    return {
        index: row.input_ids[row.prompt_length :]
        for index, row in rows.items()
        if row.input_ids[: row.prompt_length] == prompts[index]
    }
