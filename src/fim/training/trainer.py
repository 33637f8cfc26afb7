"""The trainer: encoded rows and a model in, an adapter in a run folder out."""

from __future__ import annotations

import logging
import math
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from fim.runs.writing import read_json
from fim.training.checkpoints import CheckpointStore
from fim.training.course import Course
from fim.training.generating import ready_to_generate
from fim.training.held_out import HeldOut, HeldOutLoss
from fim.training.interrupts import InterruptGuard
from fim.training.loss import base_model, forward_kept, has_plain_head, supervised_forward
from fim.training.meter import StepMeter, peak_memory_mib
from fim.training.order import num_packed_steps, num_planned_steps
from fim.training.packing_check import choose_packing, training_attention
from fim.training.precision import activations_uncast, autocast_for
from fim.training.processes import join_group, num_processes
from fim.training.result import TrainingResult, interrupted, out_of_memory
from fim.training.rows import RightPadder, check_rows, rows_fingerprint, training_dataset
from fim.training.saving import load_weights, save_result, save_weights
from fim.training.schedule import RunClock, Schedule
from fim.training.selection import EVAL_LOSS, Best, Selection, check_selection
from fim.training.session import Session, open_checkpoint, restore_selection, tell_course
from fim.training.status import status_kept
from fim.training.trackers import check_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from transformers import TrainerCallback

    from fim.config import TrainSettings
    from fim.errors import InterruptedRunError
    from fim.formats import FormatRecord
    from fim.model import LoadedModel
    from fim.packing import PackingPlan
    from fim.runs import RunFolder
    from fim.training.callbacks import MetricsCallback
    from fim.training.sft import RowTrainer
    from fim.types import EncodedExample, Progress

_logger = logging.getLogger(__name__)


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
        measure_holes: Completes held-out holes and returns figures by name; called with the model
            ready to generate.
        progress: Gets the steps.
        resume_command: What the user types to go on after an interruption.
        pad_id: Id that fills batches; None for the tokenizer's.
        clock: Seconds that only grow.
        settings_before: Settings of a resumed run until now; None where they are the same.
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
        measure_holes: Callable[[], Mapping[str, float]] | None = None,
        progress: Progress | None = None,
        resume_command: str = "",
        pad_id: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        settings_before: TrainSettings | None = None,
    ) -> None:
        self._settings_before = settings_before or settings
        self._loaded = loaded
        self._train_rows = train_rows
        self._eval_rows = eval_rows
        self._settings = settings
        self._run = run
        self._format_record = format_record
        self._fingerprints = fingerprints
        self._measure_holes = measure_holes
        self._progress = progress
        self._resume_command = resume_command
        self._pad_id = format_record.end_id if pad_id is None else pad_id
        self._clock = clock
        self._attention = base_model(loaded.model).config._attn_implementation  # noqa: SLF001

    def train(self, resume: Path | str | None = None) -> TrainingResult:
        """Train, save the adapter, and return what came of it; the model is ready to generate.

        The run's status is ``interrupted`` or ``failed`` when this raises; ``done`` is for the
        caller to say.

        Args:
            resume: ``last``, a run folder or a checkpoint to go on from.

        Raises:
            ConflictingSettingsError: A held-out figure shall decide that is not measured.
            MissingExtraError: The tracker is not installed.
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

        join_group()
        with status_kept(self._run):
            check_rows(self._train_rows)
            check_tracker(self._settings.report_to)
            check_selection(
                self._settings,
                has_rows=bool(self._eval_rows),
                has_holes=self._measure_holes is not None,
            )
            try:
                return self._train(resume)
            except torch.OutOfMemoryError as error:
                raise out_of_memory(error, self._settings, self._loaded.device) from error

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
            kept = self._keep_best(session, held_out, steps)
            target = self._run.model if self._loaded.is_full else self._run.adapter
            adapter = save_result(
                self._loaded, target, self._format_record, trainer.gathered_state()
            )
            metrics.close(f"{steps} steps")
        self._loaded.model.eval()  # type: ignore[no-untyped-call]
        speeds = session.meter.total.speeds()
        return TrainingResult(
            steps=steps,
            seconds=session.run_clock.session_seconds,
            train_loss=self._mean_loss(),
            eval_loss=kept.figures.get(EVAL_LOSS),
            holes_per_second=speeds["holes_per_second"],
            tokens_per_second=speeds["tokens_per_second"],
            supervised_tokens_per_second=speeds["supervised_tokens_per_second"],
            peak_memory_mib=peak_memory_mib(self._loaded.device),
            adapter=adapter,
            packing=session.packing.name,
            token_gain=session.packing.token_gain,
            kept_step=kept.step,
            best_metric=self._settings.best_metric,
            has_stopped_early=session.selection.should_stop,
            held_out=kept.figures,
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
        course = self._course(packing, self._settings)
        checkpoint = None
        if resume is not None:
            checkpoint = open_checkpoint(resume, run=self._run, identity=identity)
        selection = Selection(self._settings)
        store = CheckpointStore(
            self._run.checkpoints,
            limit=self._settings.save_total_limit,
            kept_step=lambda: selection.best_step,
        )
        if checkpoint is not None:
            restore_selection(selection, checkpoint, store)
            before = self._course(packing, self._settings_before)
            tell_course(before, course, checkpoint, selection)
        return Session(
            meter=StepMeter(self._clock),
            run_clock=RunClock(
                num_steps=course.num_steps,
                budget_seconds=course.budget_seconds,
                spent_seconds=checkpoint.record.elapsed_seconds if checkpoint else 0.0,
                clock=self._clock,
            ),
            guard=InterruptGuard(),
            store=store,
            identity=identity,
            has_own_loss=has_own_loss,
            packing=packing,
            selection=selection,
            checkpoint=checkpoint,
            course=course,
        )

    def _course(self, packing: PackingPlan, settings: TrainSettings) -> Course:
        """Return how far the run goes by some settings."""
        if packing.name != "none":
            num_steps = num_packed_steps(packing.num_steps, settings, num_processes=num_processes())
        else:
            num_steps = num_planned_steps(
                len(self._train_rows), settings, num_processes=num_processes()
            )
        return Course(settings, num_steps)

    def _prepare(self, stack: ExitStack, session: Session) -> None:
        """Enter the contexts of training; leaving them gives the model back as it was."""
        from fim.training.lean import lean_layers
        from fim.training.liger import use_liger_kernels

        base = base_model(self._loaded.model)
        if self._loaded.backend == "unsloth":
            from fim.model.unsloth_backend import environment_kept

            stack.enter_context(environment_kept())
        session.store.remove_drafts()
        if self._settings.use_liger_kernel:
            use_liger_kernels(self._loaded)
        stack.enter_context(forward_kept(self._loaded.model, base))
        stack.callback(setattr, base.config, "use_cache", base.config.use_cache)
        if session.has_own_loss:
            stack.enter_context(supervised_forward(self._loaded.model))
        stack.enter_context(
            training_attention(self._loaded, session.packing, has_own_loss=session.has_own_loss)
        )
        stack.enter_context(activations_uncast(self._loaded))
        stack.enter_context(lean_layers(self._loaded))

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

    def _held_out(self, session: Session, metrics: MetricsCallback) -> HeldOut:
        """Return the measurement of the held-out figures."""
        loss = HeldOutLoss(
            model=self._loaded.model,
            rows=self._eval_rows,
            batch_size=self._settings.per_device_eval_batch_size,
            collator=RightPadder(self._pad_id),
            autocast=autocast_for(self._loaded),
            has_own_loss=session.has_own_loss,
        )
        return HeldOut((loss, self._complete_holes), note=metrics.note_held_out, clock=self._clock)

    def _complete_holes(self) -> Mapping[str, float]:
        """Return the figures of completing held-out holes; nothing where none are completed."""
        if self._measure_holes is None:
            return {}
        with ready_to_generate(self._loaded, attention=self._attention):
            return self._measure_holes()

    def _keep_best(self, session: Session, held_out: HeldOut, steps: int) -> Best:
        """Measure at the end, put the best weights back where they are wanted, and return which."""
        last = Best(steps, math.nan, held_out.measure(steps))
        session.selection.note(steps, last.figures)
        best = session.selection.best
        folder = session.store.at(best.step) if best is not None else None
        if best is None or best.step == steps or folder is None:
            return last
        load_weights(self._loaded, folder)
        metric = self._settings.best_metric
        _logger.info("keeping step %d, the best by %s: %.4g", best.step, metric, best.value)
        return best

    def _row_trainer(
        self, session: Session, metrics: MetricsCallback, held_out: HeldOut
    ) -> RowTrainer:
        """Return TRL's trainer with every part in place."""
        from fim.training.callbacks import HeldOutCallback, StopCallback
        from fim.training.packed_sft import budget_trainer, packed_trainer
        from fim.training.sft import RowTrainer, SftParts, sft_config

        settings = self._settings
        guard = session.guard
        callbacks: list[TrainerCallback] = [
            metrics,
            StopCallback(meter=session.meter, run_clock=session.run_clock, guard=guard),
            HeldOutCallback(
                interval_steps=settings.eval_steps,
                measure=held_out.measure,
                selection=session.selection,
                guard=guard,
            ),
        ]
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
            save_model=lambda folder, state: save_weights(self._loaded, Path(folder), state),
            autocast=autocast_for(self._loaded),
            has_own_loss=session.has_own_loss,
            is_grouped=settings.group_by_length,
            seed=settings.seed,
            resume_command=self._resume_command,
        )
        config = sft_config(
            settings,
            self._loaded,
            folder=self._run.checkpoints,
            has_own_loss=session.has_own_loss,
        )
        if session.packing.name == "none" and settings.max_tokens_per_batch is None:
            return RowTrainer(parts, config)
        if session.packing.name == "none":
            return budget_trainer(
                parts,
                config,
                self._train_rows,
                max_tokens=settings.max_tokens_per_batch or 0,
                padder=RightPadder(self._pad_id),
            )
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
            load_weights(self._loaded, Path(folder))
            return
        try:
            with session.guard:
                trainer.train(resume_from_checkpoint=folder)
        except KeyboardInterrupt:
            raise self._interrupted(session) from None
        if session.guard.is_stopping and trainer.state.global_step < trainer.state.max_steps:
            raise self._interrupted(session)

    def _interrupted(self, session: Session) -> InterruptedRunError:
        """Return the error for a run that the user stopped."""
        return interrupted(self._run.path, session.store.last(), self._resume_command)

    def _mean_loss(self) -> float:
        """Return the mean of the losses that the run logged, a number that is none without any."""
        losses = [row["loss"] for row in self._run.read_metrics() if "loss" in row]
        numbers = [loss for loss in losses if isinstance(loss, float)]
        return sum(numbers) / len(numbers) if numbers else math.nan
