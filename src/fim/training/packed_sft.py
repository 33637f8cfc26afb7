"""TRL's trainer over packed steps: an item of the data is a whole optimizer step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from fim.training.meter import StepCounts
from fim.training.packed import (
    COUNTS_KEY,
    PACKED_KEY,
    STEP_COLUMN,
    WEIGHT_KEY,
    StepCollator,
    StepSampler,
)
from fim.training.processes import summed
from fim.training.sft import RowTrainer
from fim.training.token_budget import BudgetCollator

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from datasets import Dataset
    from torch import Tensor
    from trl import SFTConfig  # type: ignore[attr-defined]

    from fim.packing import PackingPlan
    from fim.training.packed import StepMaker
    from fim.training.rows import RightPadder
    from fim.training.sft import SftParts
    from fim.types import EncodedExample


class PackedTrainer(RowTrainer):
    """Runs the packed rows of a step one after the other before each step of the optimizer.

    How many packed rows a step needs differs from step to step; the loss is divided by the trained
    tokens of the whole step, so the gradient is that of its rows one by one.

    Args:
        parts: What it is put together from.
        args: TRL's settings, with one item to a step.
        collator: Makes steps.
    """

    def __init__(self, parts: SftParts, args: SFTConfig, collator: StepMaker) -> None:
        self._collator = collator
        super().__init__(parts, args)

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> StepSampler:  # type: ignore[override]
        """Return the plan's own order of steps."""
        return StepSampler(self._collator)

    def counts_of(self, batch: Mapping[str, object]) -> StepCounts:
        """Return what is in a step."""
        rows, tokens, supervised = cast("tuple[int, int, int]", batch[COUNTS_KEY])
        return StepCounts(rows=rows, tokens=tokens, supervised_tokens=supervised)

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Tensor]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor | int | None]:
        """Take a step and what its loss is divided by: its trained tokens, by their weight."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        weights = [cast("float", cast("object", batch[WEIGHT_KEY])) for batch in batches]
        return batches, cast("int", summed([sum(weights)])[0])

    def training_step(self, *args: object, **kwargs: object) -> Tensor:
        """Run every packed row of a step forward and backward.

        Several processes have different numbers of them, so they exchange gradients at the last.
        """
        model, inputs, *more = args
        *first, last = cast("Mapping[str, list[object]]", inputs)[PACKED_KEY]
        losses = []
        for each in first:
            with self.accelerator.no_sync(model):
                losses.append(super().training_step(model, each, *more))
        losses.append(super().training_step(model, last, *more))
        return cast("Tensor", sum(losses))


def packed_trainer(
    parts: SftParts,
    args: SFTConfig,
    plan: PackingPlan,
    rows: Sequence[EncodedExample],
    *,
    device: str,
) -> PackedTrainer:
    """Return a trainer over packed steps in place of one over rows.

    Args:
        parts: What a trainer over rows is put together from.
        args: TRL's settings; one item becomes one step.
        plan: The packing.
        rows: All rows.
        device: Where the model runs.
    """
    collator = StepCollator(plan, rows, seed=parts.seed, device=device)
    return step_trainer(parts, args, collator)


def budget_trainer(
    parts: SftParts,
    args: SFTConfig,
    rows: Sequence[EncodedExample],
    *,
    max_tokens: int,
    padder: RightPadder,
) -> PackedTrainer:
    """Return a trainer whose steps are cut into batches by tokens.

    Args:
        parts: What a trainer over rows is put together from.
        args: TRL's settings; one item becomes one step.
        rows: All rows.
        max_tokens: Most tokens of a batch, padding included.
        padder: Makes padded batches.
    """
    collator = BudgetCollator(
        rows,
        rows_per_step=args.per_device_train_batch_size * args.gradient_accumulation_steps,
        max_tokens=max_tokens,
        padder=padder,
        seed=parts.seed,
    )
    return step_trainer(parts, args, collator)


def step_trainer(parts: SftParts, args: SFTConfig, collator: StepMaker) -> PackedTrainer:
    """Return a trainer over steps that a collator makes."""
    args.per_device_train_batch_size = 1
    args.gradient_accumulation_steps = 1
    steps = replace(parts, dataset=step_dataset(len(collator)), collator=collator)
    return PackedTrainer(steps, args, collator)


def step_dataset(num_steps: int) -> Dataset:
    """Return the numbers of an epoch's steps as TRL wants its data."""
    from datasets import Dataset

    return Dataset.from_dict({STEP_COLUMN: list(range(num_steps))})
