"""Packed steps: which rows a step holds, as tensors, and how a model computes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch.utils.data import Sampler

from fim.training.flex import flex_mask
from fim.training.loss import PLAIN_ARGUMENT, PLAIN_WEIGHT_ARGUMENT, TARGETS_ARGUMENT
from fim.training.pieces import PIECES_ARGUMENT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fim.packing import PackedRow, PackingPlan
    from fim.types import EncodedExample

PACKED_KEY = "packed_rows"
COUNTS_KEY = "packed_counts"
WEIGHT_KEY = "packed_weight"
STEP_COLUMN = "step"


def packed_inputs(
    packed: PackedRow, *, device: str = "cpu", trunk_weight: float = 0.0
) -> dict[str, object]:
    """Return what a model inside ``supervised_forward`` is called with for a packed row.

    Args:
        packed: The row.
        device: CUDA gets a block mask for FlexAttention, anything else attends in pieces.
        trunk_weight: Weight of the plain loss on the text of trunks.
    """
    inputs: dict[str, object] = {
        "input_ids": torch.from_numpy(packed.input_ids)[None],
        "position_ids": torch.from_numpy(packed.positions)[None],
        TARGETS_ARGUMENT: torch.from_numpy(packed.targets.copy()),
    }
    if packed.plain.size:
        inputs[PLAIN_ARGUMENT] = torch.from_numpy(packed.plain.copy())
        inputs[PLAIN_WEIGHT_ARGUMENT] = trunk_weight
    if device.startswith("cuda"):
        return inputs | {"attention_mask": flex_mask(packed.pieces, device=device)}
    return inputs | {"attention_mask": torch.empty(1, 1, 0, 0), PIECES_ARGUMENT: packed.pieces}


class StepCollator:
    """Makes the tensors of an optimizer step from its number.

    Args:
        plan: Which rows stand in which step.
        rows: All rows.
        seed: Seed of the order.
        device: Where the model runs.
    """

    def __init__(
        self, plan: PackingPlan, rows: Sequence[EncodedExample], *, seed: int, device: str
    ) -> None:
        self._plan = plan
        self._rows = rows
        self._seed = seed
        self._device = device
        self.set_epoch(0)

    def set_epoch(self, epoch: int) -> None:
        """Choose the pass over the rows, from 0."""
        self._steps = self._plan.steps(seed=self._seed, epoch=epoch)

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        return self._plan.num_steps

    def __call__(self, items: Sequence[Mapping[str, int]]) -> dict[str, object]:
        """Return the packed rows of a step and what is in them: rows, tokens, trained tokens.

        What the step's loss is divided by comes with them: its trained tokens, and those of trunks
        by their weight.
        """
        trees = [tree for item in items for tree in self._steps[item[STEP_COLUMN]]]
        packed = self._plan.packed_rows(trees, self._rows)
        counts = (
            sum(each.num_rows for each in packed),
            sum(each.num_tokens for each in packed),
            sum(each.num_supervised for each in packed),
        )
        weight = self._plan.trunk_weight
        inputs = [packed_inputs(each, device=self._device, trunk_weight=weight) for each in packed]
        divisor = counts[2] + weight * sum(each.plain.shape[1] for each in packed)
        return {PACKED_KEY: inputs, COUNTS_KEY: counts, WEIGHT_KEY: divisor}


class StepMaker(Protocol):
    """Makes the tensors of optimizer steps, epoch by epoch."""

    def set_epoch(self, epoch: int) -> None:
        """Choose the pass over the rows, from 0."""
        ...

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        ...

    def __call__(self, items: Sequence[Mapping[str, int]]) -> dict[str, object]:
        """Return the inputs of a step and what is in them."""
        ...


class StepSampler(Sampler[int]):
    """Gives the steps of an epoch one after the other; the plan has shuffled what is in them.

    Args:
        collator: Told which epoch begins.
    """

    def __init__(self, collator: StepMaker) -> None:
        self._collator = collator

    def set_epoch(self, epoch: int) -> None:
        """Choose the pass over the rows, from 0."""
        self._collator.set_epoch(epoch)

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self._collator)

    def __iter__(self) -> Iterator[int]:
        """Yield step numbers."""
        return iter(range(len(self._collator)))
