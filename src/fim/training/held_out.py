"""The held-out loss: one number over fixed rows, comparable between steps and runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from fim.training.loss import framework_batch_nll, head_batch_nll, mean_nll
from fim.training.rows import answer_labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
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
        note: Gets the step, the loss and the seconds that it took.
        clock: Seconds that only grow.
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
        note: Callable[[int, float, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._rows = sorted(rows, key=lambda row: len(row.input_ids))
        self._batch_size = batch_size
        self._collator = collator
        self._autocast = autocast
        self._batch_nll = head_batch_nll if has_own_loss else framework_batch_nll
        self._note = note
        self._clock = clock
        self._measured: tuple[int, float] | None = None

    def measure(self, step: int) -> float:
        """Return the held-out loss now, and note it; asked again at a step, return it again.

        Args:
            step: Optimizer steps done.
        """
        if self._measured is not None and self._measured[0] == step:
            return self._measured[1]
        began = self._clock()
        with self._autocast():
            loss = mean_nll(self._model, self._batches(), self._batch_nll)
        self._note(step, loss, self._clock() - began)
        self._measured = (step, loss)
        return loss

    def _batches(self) -> Iterator[dict[str, Tensor]]:
        """Yield padded batches."""
        for start in range(0, len(self._rows), self._batch_size):
            yield self._collator(
                [
                    {"input_ids": row.input_ids, "labels": answer_labels(row)}
                    for row in self._rows[start : start + self._batch_size]
                ]
            )
