"""Held-out figures: the loss over fixed rows, and what comes of completing fixed holes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fim.training.loss import framework_batch_nll, head_batch_nll, mean_nll
from fim.training.processes import of_main
from fim.training.rows import answer_labels
from fim.training.selection import EVAL_LOSS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor
    from transformers import PreTrainedModel

    from fim.training.rows import RightPadder
    from fim.types import EncodedExample


class HeldOutLoss:
    """Mean negative log-likelihood per token of middles and end tokens, weighted by tokens.

    Rows trained with loss on everything are measured on their answers all the same.

    Args:
        model: The model, PEFT-wrapped or not.
        rows: Held-out rows.
        batch_size: Rows scored together; rows of similar length share a batch.
        collator: Makes padded batches.
        autocast: Makes the context that a loss is computed in.
        has_own_loss: The model is inside ``supervised_forward``.
    """

    def __init__(
        self,
        *,
        model: PreTrainedModel,
        rows: Sequence[EncodedExample],
        batch_size: int,
        collator: RightPadder,
        autocast: Callable[[], AbstractContextManager[None]],
        has_own_loss: bool,
    ) -> None:
        self._model = model
        self._rows = sorted(rows, key=lambda row: len(row.input_ids))
        self._batch_size = batch_size
        self._collator = collator
        self._autocast = autocast
        self._batch_nll = head_batch_nll if has_own_loss else framework_batch_nll

    def __call__(self) -> Mapping[str, float]:
        """Return the loss now as ``eval_loss``; nothing without rows."""
        if not self._rows:
            return {}
        with self._autocast():
            return {EVAL_LOSS: mean_nll(self._model, self._batches(), self._batch_nll)}

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield padded batches."""
        for start in range(0, len(self._rows), self._batch_size):
            yield self._collator(
                [
                    {"input_ids": row.input_ids, "labels": answer_labels(row)}
                    for row in self._rows[start : start + self._batch_size]
                ]
            )


class HeldOut:
    """All held-out figures of a step, measured once and noted.

    Args:
        measures: Each returns figures by name.
        note: Gets the step, the figures and the seconds that they took.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        measures: Sequence[Callable[[], Mapping[str, float]]],
        *,
        note: Callable[[int, Mapping[str, float], float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._measures = measures
        self._note = note
        self._clock = clock
        self._measured: tuple[int, Mapping[str, float]] = (-1, {})

    def measure(self, step: int) -> Mapping[str, float]:
        """Return the figures now, and note them; asked again at a step, return them again.

        Args:
            step: Optimizer steps done.
        """
        if self._measured[0] == step:
            return self._measured[1]
        began = self._clock()
        figures: dict[str, float] = {}
        for each in self._measures:
            figures |= each()
        figures = of_main(figures)
        if figures:
            self._note(step, figures, self._clock() - began)
        self._measured = (step, figures)
        return figures
