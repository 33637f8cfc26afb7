"""A small subclass of TRL's trainer: rows as they are, loss where it belongs, whole checkpoints."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
import transformers
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Sampler
from transformers import PrinterCallback
from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

from fim.errors import NoSupervisedTokensError
from fim.training.callbacks import HeldOutCallback
from fim.training.loss import head_batch_nll
from fim.training.meter import StepCounts, in_all
from fim.training.non_finite import BadFigure, base_fault, not_finite
from fim.training.order import length_grouped_order, pass_epochs_on, shuffled_order
from fim.training.precision import checkpointing_off, choose_optimizer, restore_dtypes
from fim.training.processes import is_main, of_main
from fim.training.schedule import rates_kept
from fim.training.trackers import keep_events_in
from fim.types import IGNORED_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager, ExitStack
    from pathlib import Path

    from datasets import Dataset
    from torch import Tensor
    from torch.utils.data import DataLoader
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

    from fim.config import TrainSettings
    from fim.errors import NonFiniteLossError
    from fim.model import LoadedModel
    from fim.training.checkpoints import CheckpointRecord, CheckpointStore
    from fim.training.meter import StepMeter
    from fim.training.packed import StepMaker
    from fim.training.rows import RightPadder
    from fim.training.schedule import RunClock, Schedule


@dataclass(frozen=True, slots=True)
class SftParts:
    """What the trainer is put together from.

    Args:
        model: The model, PEFT-wrapped or not.
        tokenizer: Its tokenizer; TRL asks for one, nothing is tokenised.
        dataset: Rows of ``input_ids`` and ``labels``.
        lengths: Tokens of each row.
        collator: Makes padded batches.
        callbacks: Called around steps.
        meter: Counts steps.
        run_clock: Knows how far the run is.
        schedule: Learning rate over progress.
        store: Gets the checkpoints.
        record: Makes the record of a checkpoint at a step.
        save_model: Writes what is trained into a folder; gets weights that were spread.
        autocast: Makes a context of lower precision, entered around each loss.
        has_own_loss: Project supervised positions only, through ``supervised_forward``.
        is_grouped: Batch rows of similar length.
        seed: Seed of the order.
        resume_command: What the user types to go on after a stop.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    dataset: Dataset
    lengths: Sequence[int]
    collator: RightPadder | StepMaker
    callbacks: list[TrainerCallback]
    meter: StepMeter
    run_clock: RunClock
    schedule: Schedule
    store: CheckpointStore
    record: Callable[[int], CheckpointRecord]
    save_model: Callable[[str, dict[str, Tensor] | None], None]
    autocast: Callable[[], AbstractContextManager[None]]
    has_own_loss: bool
    is_grouped: bool
    seed: int
    resume_command: str = ""


class RowSampler(Sampler[int]):
    """Gives the rows of an epoch in a reproducible order.

    Args:
        lengths: Tokens of each row.
        batch_size: Rows in a batch.
        seed: Seed of the order.
        is_grouped: Keep rows of similar length together.
    """

    def __init__(
        self, lengths: Sequence[int], *, batch_size: int, seed: int, is_grouped: bool
    ) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._is_grouped = is_grouped
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the pass over the rows, from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        """Yield row indices."""
        if not self._is_grouped:
            return iter(shuffled_order(len(self), seed=self._seed, epoch=self._epoch))
        return iter(
            length_grouped_order(
                self._lengths, batch_size=self._batch_size, seed=self._seed, epoch=self._epoch
            )
        )


class RowTrainer(SFTTrainer):
    """TRL's trainer over rows that are encoded already.

    Args:
        parts: What it is put together from.
        args: TRL's settings.
    """

    def __init__(self, parts: SftParts, args: SFTConfig) -> None:
        self._parts = parts
        trained = [each for each in parts.model.parameters() if each.requires_grad]
        dtypes = [each.dtype for each in trained]
        super().__init__(
            model=parts.model,
            args=args,
            data_collator=parts.collator,
            train_dataset=parts.dataset,
            processing_class=parts.tokenizer,
            callbacks=parts.callbacks,
        )
        self.remove_callback(PrinterCallback)
        keep_events_in(parts.store.folder.parent / "tensorboard", self.callback_handler.callbacks)
        self.processing_class = None
        self.model_accepts_loss_kwargs = True
        for callback in parts.callbacks:
            if isinstance(callback, HeldOutCallback):
                callback.log = self.log
        restore_dtypes(trained, dtypes)

    def _send_telemetry(self) -> None:
        """Report nothing to anybody."""

    def floating_point_ops(self, inputs: Mapping[str, Tensor]) -> int:
        """Skip the walk over all parameters that counting operations takes on every batch."""
        return 0

    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> RowSampler:
        """Return the run's own order of rows."""
        return RowSampler(
            self._parts.lengths,
            batch_size=self._train_batch_size,
            seed=self._parts.seed,
            is_grouped=self._parts.is_grouped,
        )

    def get_train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Return the batches, in each epoch's own order after a resume too."""
        loader = super().get_train_dataloader()
        pass_epochs_on(loader)
        return loader

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> LambdaLR:
        """Return a learning rate that follows the run's progress by steps and by time.

        With a time budget it follows the main process's clock, so that weights stay one.
        """
        run_clock, schedule = self._parts.run_clock, self._parts.schedule
        run_clock.num_steps = num_training_steps

        def scale(num_done_steps: int) -> float:
            progress = run_clock.progress(num_done_steps)
            is_timed = run_clock.budget_seconds is not None
            return schedule.scale(of_main(progress) if is_timed else progress)

        steps = cast("torch.optim.Optimizer", optimizer or self.optimizer)
        self.lr_scheduler = LambdaLR(steps, scale)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """Load the state of a checkpoint, under the rate and the weight decay that are set now."""
        with rates_kept(self.optimizer, self.lr_scheduler):
            super()._load_optimizer_and_scheduler(checkpoint)

    def get_batch_samples(
        self, epoch_iterator: Iterator[dict[str, Tensor]], num_batches: int, device: torch.device
    ) -> tuple[list[dict[str, Tensor]], Tensor | int | None]:
        """Take the batches of a step and count what is in them.

        Raises:
            NoSupervisedTokensError: The step would train nothing.
        """
        self._parts.meter.begin_step()
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        counts = in_all(sum((self.counts_of(batch) for batch in batches), StepCounts()))
        if batches and counts.supervised_tokens == 0:
            raise NoSupervisedTokensError(
                f"Step {self.state.global_step + 1} has {counts.rows} rows and no trained token; "
                "its loss would be zero and look healthy.",
                hint="Look at the data: fim data inspect DATA",
                context={"step": self.state.global_step + 1, "rows": counts.rows},
            )
        self._parts.meter.count(counts)
        return batches, num_items

    def counts_of(self, batch: Mapping[str, Tensor]) -> StepCounts:
        """Return what is in a batch."""
        return StepCounts(
            rows=len(batch["input_ids"]),
            tokens=int(batch["attention_mask"].sum()),
            supervised_tokens=int((batch["labels"][:, 1:] != IGNORED_LABEL).sum()),
        )

    def compute_loss_context_manager(self) -> ExitStack:
        """Return the context that a loss is computed in."""
        stack = super().compute_loss_context_manager()
        stack.enter_context(self._parts.autocast())
        return stack

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Return the summed loss of a batch over the trained tokens of the whole step.

        So the mean is over tokens, however a step is cut into batches.
        """
        if not self._parts.has_own_loss:
            framework_loss = super().compute_loss(  # type: ignore[no-untyped-call]
                model, inputs, return_outputs, num_items_in_batch=num_items_in_batch
            )
            return cast("Tensor", framework_loss)
        count = num_items_in_batch
        if count is None:
            count = (inputs["labels"][:, 1:] != IGNORED_LABEL).sum()
        loss = head_batch_nll(cast("PreTrainedModel", model), inputs) / count
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            loss = loss * self.accelerator.num_processes
        return loss

    def training_step(self, *args: object, **kwargs: object) -> Tensor:
        """Run a batch forward and backward.

        Raises:
            NonFiniteLossError: The loss is not a number; no weight has changed.
        """
        step = super().training_step(*args, **kwargs)  # type: ignore[no-untyped-call]
        loss = cast("Tensor", step)
        if not bool(torch.isfinite(loss)):
            raise self._not_finite("loss", float(loss), partial(self._compute_again, *args))  # type: ignore[arg-type]
        return loss

    def _get_grad_norm(
        self, model: torch.nn.Module, grad_norm: Tensor | float | None = None
    ) -> Tensor | float | None:
        """Return the norm of the gradient, which the optimizer step is about to use.

        Raises:
            NonFiniteLossError: The norm is not a number; no weight has changed.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        if norm is not None and not self.args.fp16 and not math.isfinite(float(norm)):
            raise self._not_finite("gradient norm", float(norm), None)
        return cast("Tensor | float | None", norm)

    def _compute_again(
        self, model: torch.nn.Module, inputs: dict[str, Tensor], count: Tensor | None = None
    ) -> None:
        """Compute a batch's loss once more, without a step."""
        with self.compute_loss_context_manager():
            self.compute_loss(model, self._prepare_inputs(inputs), num_items_in_batch=count)

    def _has_base(self) -> bool:
        """Tell whether the weights of the base are still there: frozen, or not yet trained."""
        frozen = (each for each in self._parts.model.parameters() if not each.requires_grad)
        return self.state.global_step == 0 or any(True for _ in frozen)

    def _not_finite(
        self, what: str, value: float, again: Callable[[], object] | None
    ) -> NonFiniteLossError:
        """Return the error for a figure that is no number, once the base has been looked at."""
        figure = BadFigure(what, value, self.state.global_step + 1, self.args.learning_rate)
        return not_finite(
            figure,
            fault=base_fault(self._parts.model, again) if self._has_base() else "",
            checkpoint=self._parts.store.last(),
            resume_command=self._parts.resume_command,
        )

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the speeds of the steps since the last log."""
        if "loss" in logs:
            logs.update(self._parts.meter.read())
        super().log(logs, start_time)

    def save_model(
        self,
        output_dir: str | None = None,
        _internal_call: bool = False,
    ) -> None:
        """Write what is trained, once for all processes."""
        state = self.gathered_state()
        if is_main():
            self._parts.save_model(str(output_dir or self.args.output_dir), state)

    def gathered_state(self) -> dict[str, Tensor] | None:
        """Return the weights that FSDP or DeepSpeed has spread over processes; None where whole."""
        if not (self.is_fsdp_enabled or self.is_deepspeed_enabled):
            return None
        return cast("dict[str, Tensor]", self.accelerator.get_state_dict(self.model))

    def _save_checkpoint(self, model: torch.nn.Module, trial: object) -> None:
        """Write a checkpoint that is whole or absent."""
        kept = self.args.output_dir
        with self._parts.store.writing(self._parts.record(self.state.global_step)) as draft:
            self.args.output_dir = str(draft)
            try:
                transformers.Trainer._save_checkpoint(self, model, trial)  # noqa: SLF001
            finally:
                self.args.output_dir = kept


def sft_config(
    settings: TrainSettings, loaded: LoadedModel, *, folder: Path, has_own_loss: bool
) -> SFTConfig:
    """Return TRL's settings: rows as they are, and no figure that costs a step anything.

    Args:
        settings: How to train.
        loaded: Gives backend, number type and device.
        folder: Where checkpoints go.
        has_own_loss: TRL's own compact head, where it has one, stays off the model.
    """
    loss_type = {"loss_type": "nll"} if has_own_loss else {}
    is_cuda = loaded.device.startswith("cuda")
    make: Callable[..., SFTConfig] = SFTConfig
    return make(
        output_dir=str(folder),
        num_train_epochs=settings.num_train_epochs,
        max_steps=settings.max_steps,
        per_device_train_batch_size=settings.per_device_train_batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation_steps,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        neftune_noise_alpha=settings.neftune_noise_alpha,
        optim=choose_optimizer(settings.optim, loaded.device),
        seed=settings.seed,
        logging_steps=settings.logging_steps,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=settings.save_steps,
        eval_strategy="no",
        report_to=settings.report_to,
        use_cpu=not is_cuda,
        bf16=loaded.backend == "unsloth" and loaded.dtype == "bfloat16",
        fp16=is_cuda and loaded.dtype == "float16",
        **checkpointing_off(),
        **loss_type,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        dataloader_num_workers=0,
        dataloader_pin_memory=is_cuda,
        disable_tqdm=True,
    )
