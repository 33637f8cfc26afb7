"""Batches by tokens: the rows of a step, cut into batches that hold a bounded number of tokens.

A step has the same rows as without a bound, so its gradient and the learning curve are the same;
only how many rows are computed at a time follows their lengths. That bounds the memory, and rows of
similar length stand together.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fim.training.order import shuffled_order
from fim.training.packed import COUNTS_KEY, PACKED_KEY, STEP_COLUMN, WEIGHT_KEY
from fim.training.rows import num_supervised

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.training.rows import RightPadder
    from fim.types import EncodedExample


def token_batches(lengths: Sequence[int], rows: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Return rows in batches whose rows times their longest stay within a number of tokens.

    A row that is longer on its own is a batch of its own. The longest come first, so that a step
    that does not fit fails at once.

    Args:
        lengths: Tokens of each row of the set.
        rows: The rows to batch.
        max_tokens: Most tokens of a batch, padding included.

    >>> token_batches([4, 2, 9, 2], [0, 1, 2, 3], 8)
    [[2], [0, 1], [3]]
    """
    batches: list[list[int]] = []
    for row in sorted(rows, key=lambda each: (-lengths[each], each)):
        open_batch = batches[-1] if batches else []
        if open_batch and lengths[open_batch[0]] * (len(open_batch) + 1) <= max_tokens:
            open_batch.append(row)
        else:
            batches.append([row])
    return batches


class BudgetCollator:
    """Makes the batches of an optimizer step from its number.

    Args:
        rows: All rows.
        rows_per_step: Rows of a step.
        max_tokens: Most tokens of a batch, padding included.
        padder: Makes padded batches.
        seed: Seed of the order.
    """

    def __init__(
        self,
        rows: Sequence[EncodedExample],
        *,
        rows_per_step: int,
        max_tokens: int,
        padder: RightPadder,
        seed: int,
    ) -> None:
        self._rows = rows
        self._lengths = [len(row.input_ids) for row in rows]
        self._rows_per_step = rows_per_step
        self._max_tokens = max_tokens
        self._padder = padder
        self._seed = seed
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the pass over the rows, from 0."""
        self._order = shuffled_order(len(self._rows), seed=self._seed, epoch=epoch)

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        return math.ceil(len(self._rows) / self._rows_per_step)

    def __call__(self, items: Sequence[Mapping[str, int]]) -> dict[str, object]:
        """Return the batches of a step and what is in them: rows, tokens, trained tokens."""
        chosen: list[int] = []
        for item in items:
            start = item[STEP_COLUMN] * self._rows_per_step
            chosen += self._order[start : start + self._rows_per_step]
        batches = token_batches(self._lengths, chosen, self._max_tokens)
        counts = (
            len(chosen),
            sum(self._lengths[row] for row in chosen),
            sum(num_supervised(self._rows[row].labels) for row in chosen),
        )
        inputs = [self._padder([_columns(self._rows[row]) for row in batch]) for batch in batches]
        return {PACKED_KEY: inputs, COUNTS_KEY: counts, WEIGHT_KEY: float(counts[2])}


def _columns(row: EncodedExample) -> dict[str, Sequence[int]]:
    return {"input_ids": row.input_ids, "labels": row.labels}
