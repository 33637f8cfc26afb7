"""Encoded rows as a trainer takes them: checked, fingerprinted, turned into padded batches."""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.errors import AllTokensMaskedError, EmptyDatasetError
from fim.types import IGNORED_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from datasets import Dataset
    from torch import Tensor

    from fim.types import EncodedExample

_DIGEST_BYTES = 16


def check_rows(rows: Sequence[EncodedExample], what: str = "training") -> None:
    """Refuse rows that a model would silently learn nothing from.

    Args:
        rows: Encoded rows.
        what: Name of the set in messages.

    Raises:
        EmptyDatasetError: There is no row.
        AllTokensMaskedError: A row has no trained token.
    """
    if not rows:
        raise EmptyDatasetError(
            f"The {what} set has no rows, so there is nothing to learn from.",
            hint="Look at what was dropped and why: fim data check DATA",
        )
    masked = [at for at, row in enumerate(rows) if num_supervised(row.labels) == 0]
    if masked:
        first = rows[masked[0]]
        raise AllTokensMaskedError(
            f"{len(masked)} of {len(rows)} {what} rows have no trained token (first: row "
            f"{masked[0]}, example {first.example.id or 'without id'}); they would train nothing "
            "and hide it in a healthy loss.",
            hint=f"Look at the row: fim data inspect DATA --index {masked[0]}",
            context={"rows": masked[:20], "num_rows": len(masked)},
        )


def num_supervised(labels: Sequence[int]) -> int:
    """Return how many labels a causal model is trained on: all but the first position's."""
    return sum(label != IGNORED_LABEL for label in labels[1:])


def rows_fingerprint(rows: Sequence[EncodedExample]) -> str:
    """Return a hash over the ids and labels of rows, in order."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for row in rows:
        digest.update(len(row.input_ids).to_bytes(8, "little"))
        digest.update(array("q", row.input_ids).tobytes())
        digest.update(array("q", row.labels).tobytes())
    return digest.hexdigest()


def answer_labels(row: EncodedExample) -> tuple[int, ...]:
    """Return labels ``[T]`` of the middle and its end token alone, whatever the row trains."""
    answer = row.input_ids[row.prompt_length :]
    return (IGNORED_LABEL,) * row.prompt_length + answer


def training_dataset(rows: Sequence[EncodedExample]) -> Dataset:
    """Return rows in memory as TRL wants them: ``input_ids`` and ``labels``, nothing else."""
    from datasets import Dataset, Features, Sequence, Value

    numbers = Sequence(Value("int32"))
    return Dataset.from_dict(
        {
            "input_ids": [row.input_ids for row in rows],
            "labels": [row.labels for row in rows],
        },
        features=Features({"input_ids": numbers, "labels": numbers}),
    )


@dataclass(frozen=True, slots=True)
class RightPadder:
    """A collator that pads on the right and masks by position, never by the value of an id.

    Args:
        pad_id: Id that fills the places after a row; no label and no attention falls on it.
    """

    pad_id: int

    def __call__(self, rows: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Tensor]:
        """Return ``input_ids``, ``attention_mask`` and ``labels``, each ``[B, T]``."""
        import torch

        length = max(len(row["input_ids"]) for row in rows)
        shape = (len(rows), length)
        ids = torch.full(shape, self.pad_id, dtype=torch.long)
        labels = torch.full(shape, IGNORED_LABEL, dtype=torch.long)
        mask = torch.zeros(shape, dtype=torch.long)
        for at, row in enumerate(rows):
            end = len(row["input_ids"])
            ids[at, :end] = torch.tensor(row["input_ids"], dtype=torch.long)
            labels[at, :end] = torch.tensor(row["labels"], dtype=torch.long)
            mask[at, :end] = 1
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
