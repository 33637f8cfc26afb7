"""The order of training rows: a pure function of lengths, seed and epoch, so that runs resume."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor
    from torch.utils.data import DataLoader

    from fim.config import TrainSettings

WINDOW_BATCHES = 32


def shuffled_order(num_rows: int, *, seed: int, epoch: int) -> list[int]:
    """Return every row index once, shuffled by seed and epoch."""
    order = list(range(num_rows))
    _generator(seed, epoch).shuffle(order)
    return order


def length_grouped_order(
    lengths: Sequence[int], *, batch_size: int, seed: int, epoch: int
) -> list[int]:
    """Return every row index once so that batches cut from the front hold rows of similar length.

    Rows are shuffled, sorted by length inside windows of ``WINDOW_BATCHES`` batches, cut into
    batches, and the batches are shuffled. A batch that is not full comes last.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows in a batch.
        seed: Seed of the run.
        epoch: Pass over the rows, from 0.

    >>> length_grouped_order([9, 1, 8, 2], batch_size=2, seed=0, epoch=0)
    [1, 3, 2, 0]
    """
    generator = _generator(seed, epoch)
    shuffled = list(range(len(lengths)))
    generator.shuffle(shuffled)
    batches: list[list[int]] = []
    window_rows = batch_size * WINDOW_BATCHES
    for start in range(0, len(shuffled), window_rows):
        window = sorted(shuffled[start : start + window_rows], key=lambda row: lengths[row])
        batches += [window[at : at + batch_size] for at in range(0, len(window), batch_size)]
    ragged = [batch for batch in batches if len(batch) < batch_size]
    full = [batch for batch in batches if len(batch) == batch_size]
    generator.shuffle(full)
    return [row for batch in full + ragged for row in batch]


def num_planned_steps(num_rows: int, settings: TrainSettings, *, num_processes: int = 1) -> int:
    """Return the optimizer steps over rows when no time budget ends training.

    Args:
        num_rows: Training rows.
        settings: How to train.
        num_processes: Processes that take a batch each.
    """
    if settings.max_steps > 0:
        return settings.max_steps
    batch_rows = settings.per_device_train_batch_size * num_processes
    num_batches = math.ceil(num_rows / batch_rows)
    steps_per_epoch = math.ceil(num_batches / settings.gradient_accumulation_steps)
    return math.ceil(settings.num_train_epochs * steps_per_epoch)


def num_packed_steps(
    steps_per_epoch: int, settings: TrainSettings, *, num_processes: int = 1
) -> int:
    """Return the optimizer steps over packed steps when no time budget ends training.

    Args:
        steps_per_epoch: Packed steps of an epoch.
        settings: How to train.
        num_processes: Processes that take a packed step each.
    """
    if settings.max_steps > 0:
        return settings.max_steps
    return math.ceil(settings.num_train_epochs * math.ceil(steps_per_epoch / num_processes))


def _generator(seed: int, epoch: int) -> random.Random:
    """Return a generator for one epoch of a seed."""
    return random.Random(f"{seed}:{epoch}")


def pass_epochs_on(loader: DataLoader[dict[str, Tensor]]) -> None:
    """Let the epoch reach the order of the rows where several processes share them.

    A resumed epoch is one that skips batches, and accelerate tells such a one its number by the
    ``sampler`` of what it skips in; the part of one process has none, so it would keep the order
    of the first epoch.
    """
    from accelerate.data_loader import BatchSamplerShard

    part = loader.batch_sampler
    if isinstance(part, BatchSamplerShard):
        part.sampler = part.batch_sampler.sampler
