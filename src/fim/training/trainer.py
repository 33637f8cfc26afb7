"""The trainer: encoded rows and a model in, an adapter in a run folder out."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fim.errors import InterruptedRunError, NotEnoughMemoryError
from fim.formats.record import write_record
from fim.model.adapter import save_adapter
from fim.runs.writing import read_json
from fim.training.checkpoints import (
    CheckpointStore,
    draft_folder,
    replace_folder,
)
from fim.training.held_out import HeldOutLoss
from fim.training.interrupts import InterruptGuard
from fim.training.loss import base_model, forward_kept, has_plain_head, supervised_forward
from fim.training.meter import StepMeter, peak_memory_mib
from fim.training.order import num_packed_steps, num_planned_steps
from fim.training.packing_check import choose_packing, packed_attention
from fim.training.precision import activations_uncast, autocast_for
from fim.training.rows import RightPadder, check_rows, rows_fingerprint, training_dataset
from fim.training.schedule import RunClock, Schedule
from fim.training.session import Session, open_checkpoint
from fim.training.status import status_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from transformers import TrainerCallback

    from fim.config import TrainSettings
    from fim.formats import FormatRecord
    from fim.model import LoadedModel
    from fim.runs import RunFolder
    from fim.training.callbacks import MetricsCallback
    from fim.training.sft import RowTrainer
    from fim.types import EncodedExample, Progress

_SECONDS_PER_MINUTE = 60


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training run did.

    Args:
        steps: Optimizer steps of the run, earlier sessions included.
        seconds: Wall time of this session.
        train_loss: Mean loss of the run's steps, earlier sessions included.
        eval_loss: Held-out negative log-likelihood per token of middles and end tokens, at the
            end; None without held-out rows.
        holes_per_second: Rows per second of stepping.
        tokens_per_second: Tokens without padding per second of stepping.
        supervised_tokens_per_second: Trained tokens per second of stepping.
        peak_memory_mib: Most memory in use, of the GPU or of the process.
        adapter: Folder of the adapter.
        packing: How rows were packed: ``none``, ``bfd`` or ``tree``.
        token_gain: Ids of the rows for each id that was computed.
    """

    steps: int
    seconds: float
    train_loss: float
    eval_loss: float | None
    holes_per_second: float
    tokens_per_second: float
    supervised_tokens_per_second: float
    peak_memory_mib: float
    adapter: Path
    packing: str = "none"
    token_gain: float = 1.0


class Trainer:
    """Fine-tune a model on encoded rows.

    Args:
        loaded: The model with its trainable adapter.
        train_rows: Rows to learn from.
        eval_rows: Held-out rows; may be empty.
        settings: How to train.
        run: Where everything is written.
        format_record: The format of the rows, stored beside the adapter.
        fingerprints: Name -> hash that checkpoints carry: ``data`` (made from the rows when it is
            not given), ``config``, and any other that a resumed run must share.
        progress: Gets the steps.
        resume_command: What the user types to go on after an interruption.
        pad_id: Id that fills batches; None for the tokenizer's.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        loaded: LoadedModel,
        train_rows: Sequence[EncodedExample],
        eval_rows: Sequence[EncodedExample],
        settings: TrainSettings,
        run: RunFolder,
        format_record: FormatRecord,
        fingerprints: Mapping[str, str],
        progress: Progress | None = None,
        resume_command: str = "",
        pad_id: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loaded = loaded
        self._train_rows = train_rows
        self._eval_rows = eval_rows
        self._settings = settings
        self._run = run
        self._format_record = format_record
        self._fingerprints = fingerprints
        self._progress = progress
        self._resume_command = resume_command
        self._pad_id = format_record.end_id if pad_id is None else pad_id
        self._clock = clock

    def train(self, resume: Path | str | None = None) -> TrainingResult:
        """Train, save the adapter, and return what came of it; the model is ready to generate.

        The run's status is ``interrupted`` or ``failed`` when this raises; ``done`` is for the
        caller to say.

        Args:
            resume: ``last``, a run folder or a checkpoint to go on from.

        Raises:
            EmptyDatasetError: There are no rows.
            AllTokensMaskedError: A row has no trained token.
            ResumeMismatchError: The checkpoint has other data, another format or another base.
            NonFiniteLossError: A loss or gradient is not a number.
            NoSupervisedTokensError: A step has no trained token.
            NotEnoughMemoryError: A step does not fit the GPU.
            InterruptedRunError: A signal came; a checkpoint was written.
            RunFolderError: The run folder cannot be written or holds no such checkpoint.
        """
        import torch

        with status_kept(self._run):
            check_rows(self._train_rows)
            try:
                return self._train(resume)
            except torch.OutOfMemoryError as error:
                raise self._out_of_memory(error) from error

    def _train(self, resume: Path | str | None) -> TrainingResult:
        """Put the parts together, train, and save."""
        session = self._session(resume)
        with ExitStack() as stack:
            self._prepare(stack, session)
            metrics = self._metrics_callback(session)
            held_out = self._held_out(session, metrics)
            trainer = self._row_trainer(session, metrics, held_out)
            self._run_steps(trainer, session)
            steps = max(trainer.state.global_step, session.first_step)
            eval_loss = held_out.measure(steps) if self._eval_rows else None
            adapter = self._save()
            metrics.close(f"{steps} steps")
        self._loaded.model.eval()  # type: ignore[no-untyped-call]
        speeds = session.meter.total.speeds()
        return TrainingResult(
            steps=steps,
            seconds=session.run_clock.session_seconds,
            train_loss=self._mean_loss(),
            eval_loss=eval_loss,
            holes_per_second=speeds["holes_per_second"],
            tokens_per_second=speeds["tokens_per_second"],
            supervised_tokens_per_second=speeds["supervised_tokens_per_second"],
            peak_memory_mib=peak_memory_mib(self._loaded.device),
            adapter=adapter,
            packing=session.packing.name,
            token_gain=session.packing.token_gain,
        )

    def _identity(self) -> dict[str, str]:
        """Return what ties a checkpoint to this run."""
        data = self._fingerprints.get("data") or rows_fingerprint(self._train_rows)
        return {
            **self._fingerprints,
            "data": data,
            "format": self._format_record.fingerprint,
            "base": self._loaded.name,
        }

    def _session(self, resume: Path | str | None) -> Session:
        """Return the moving parts, those of a checkpoint where the run goes on from one."""
        has_own_loss = self._loaded.backend == "transformers" and has_plain_head(self._loaded.model)
        packing = choose_packing(
            self._loaded, self._train_rows, self._settings, has_own_loss=has_own_loss
        )
        identity = self._identity()
        known = read_json(self._run.data_manifest) or {}
        self._run.write_json(self._run.data_manifest, {**known, "packing": packing.facts()})
        if packing.name != "none":
            identity["packing"] = packing.name
            num_steps = num_packed_steps(packing.num_steps, self._settings)
        else:
            num_steps = num_planned_steps(len(self._train_rows), self._settings)
        checkpoint = None
        if resume is not None:
            checkpoint = open_checkpoint(resume, run=self._run, identity=identity)
        minutes = self._settings.max_minutes
        return Session(
            meter=StepMeter(self._clock),
            run_clock=RunClock(
                num_steps=num_steps,
                budget_seconds=None if minutes is None else minutes * _SECONDS_PER_MINUTE,
                spent_seconds=checkpoint.record.elapsed_seconds if checkpoint else 0.0,
                clock=self._clock,
            ),
            guard=InterruptGuard(),
            store=CheckpointStore(self._run.checkpoints, limit=self._settings.save_total_limit),
            identity=identity,
            has_own_loss=has_own_loss,
            packing=packing,
            checkpoint=checkpoint,
        )

    def _prepare(self, stack: ExitStack, session: Session) -> None:
        """Enter the contexts of training; leaving them gives the model back as it was."""
        base = base_model(self._loaded.model)
        session.store.remove_drafts()
        stack.enter_context(forward_kept(self._loaded.model, base))
        stack.callback(setattr, base.config, "use_cache", base.config.use_cache)
        if session.has_own_loss:
            stack.enter_context(supervised_forward(self._loaded.model))
        if session.packing.name != "none":
            stack.enter_context(packed_attention(self._loaded))
        stack.enter_context(activations_uncast(self._loaded))

    def _metrics_callback(self, session: Session) -> MetricsCallback:
        """Return the writer of figures."""
        from fim.training.callbacks import MetricsCallback

        return MetricsCallback(
            run=self._run,
            meter=session.meter,
            run_clock=session.run_clock,
            device=self._loaded.device,
            progress=self._progress,
        )

    def _held_out(self, session: Session, metrics: MetricsCallback) -> HeldOutLoss:
        """Return the measurement of the held-out loss."""
        return HeldOutLoss(
            model=self._loaded.model,
            rows=self._eval_rows,
            batch_size=self._settings.per_device_eval_batch_size,
            collator=RightPadder(self._pad_id),
            autocast=autocast_for(self._loaded),
            has_own_loss=session.has_own_loss,
            note=metrics.note_held_out,
            clock=self._clock,
        )

    def _row_trainer(
        self, session: Session, metrics: MetricsCallback, held_out: HeldOutLoss
    ) -> RowTrainer:
        """Return TRL's trainer with every part in place."""
        from fim.training.callbacks import HeldOutCallback, StopCallback
        from fim.training.packed_sft import packed_trainer
        from fim.training.sft import RowTrainer, SftParts, sft_config

        settings = self._settings
        callbacks: list[TrainerCallback] = [metrics]
        if self._eval_rows:
            callbacks.append(
                HeldOutCallback(interval_steps=settings.eval_steps, measure=held_out.measure)
            )
        callbacks.append(
            StopCallback(meter=session.meter, run_clock=session.run_clock, guard=session.guard)
        )
        parts = SftParts(
            model=self._loaded.model,
            tokenizer=self._loaded.tokenizer,
            dataset=training_dataset(self._train_rows),
            lengths=[len(row.input_ids) for row in self._train_rows],
            collator=RightPadder(self._pad_id),
            callbacks=callbacks,
            meter=session.meter,
            run_clock=session.run_clock,
            schedule=Schedule(settings.lr_scheduler_type, settings.warmup_ratio),
            store=session.store,
            record=session.record,
            save_model=lambda folder: self._save_weights(Path(folder)),
            autocast=autocast_for(self._loaded),
            has_own_loss=session.has_own_loss,
            is_grouped=settings.group_by_length,
            seed=settings.seed,
        )
        config = sft_config(
            settings,
            self._loaded,
            folder=self._run.checkpoints,
            has_own_loss=session.has_own_loss,
        )
        if session.packing.name == "none":
            return RowTrainer(parts, config)
        return packed_trainer(
            parts, config, session.packing, self._train_rows, device=self._loaded.device
        )

    def _run_steps(self, trainer: RowTrainer, session: Session) -> None:
        """Take the steps that are left.

        Raises:
            InterruptedRunError: A signal came.
        """
        folder = str(session.checkpoint.folder) if session.checkpoint else None
        session.run_clock.start()
        if folder is not None and session.is_complete:
            self._loaded.model.load_adapter(folder, "default", is_trainable=True)
            return
        try:
            with session.guard:
                trainer.train(resume_from_checkpoint=folder)
        except KeyboardInterrupt:
            raise self._interrupted(session.store.last()) from None
        if session.guard.is_requested and trainer.state.global_step < trainer.state.max_steps:
            raise self._interrupted(session.store.last())

    def _mean_loss(self) -> float:
        """Return the mean of the losses that the run logged, a number that is none without any."""
        losses = [row["loss"] for row in self._run.read_metrics() if "loss" in row]
        numbers = [loss for loss in losses if isinstance(loss, float)]
        return sum(numbers) / len(numbers) if numbers else math.nan

    def _interrupted(self, checkpoint: Path | None) -> InterruptedRunError:
        """Return the error for a run that the user stopped."""
        if checkpoint is None:
            return InterruptedRunError(
                "Training was stopped before its first checkpoint; nothing is left to resume.",
                context={"run": str(self._run.path), "checkpoint": None},
            )
        return InterruptedRunError(
            f"Training was stopped; its state is in {checkpoint}.",
            hint=self._resume_command,
            context={"run": str(self._run.path), "checkpoint": str(checkpoint)},
        )

    def _out_of_memory(self, error: Exception) -> NotEnoughMemoryError:
        """Return the error for a step that does not fit."""
        settings = self._settings
        return NotEnoughMemoryError(
            f"A training step of {settings.per_device_train_batch_size} rows does not fit the "
            f"memory of {self._loaded.device}: {str(error).splitlines()[0]}",
            hint="Halve train.per_device_train_batch_size and double "
            "train.gradient_accumulation_steps: same steps, half the memory.",
            context={"device": self._loaded.device},
        )

    def _save_weights(self, folder: Path) -> None:
        """Write the adapter's weights and record."""
        folder.mkdir(parents=True, exist_ok=True)
        save_adapter(self._loaded, folder)

    def _save(self) -> Path:
        """Write the adapter with its format and tokenizer, whole or not at all."""
        with draft_folder(self._run.adapter) as draft:
            made = draft / "adapter"
            self._save_weights(made)
            write_record(made, self._format_record)
            self._loaded.tokenizer.save_pretrained(made)
            replace_folder(made, self._run.adapter)
        return self._run.adapter
