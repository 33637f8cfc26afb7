"""One session of a training run: what it counts, what it belongs to, where it goes on from."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.training.checkpoints import CheckpointRecord, find_checkpoint, installed_versions
from fim.training.course import resume_news

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fim.packing import PackingPlan
    from fim.runs import RunFolder
    from fim.training.checkpoints import CheckpointStore
    from fim.training.course import Course
    from fim.training.interrupts import InterruptGuard
    from fim.training.meter import StepMeter
    from fim.training.schedule import RunClock
    from fim.training.selection import Selection

_logger = logging.getLogger(__name__)

_SETTINGS_KEY = "config"


@dataclass(frozen=True, slots=True)
class OpenCheckpoint:
    """A checkpoint that was found fit to go on from."""

    folder: Path
    record: CheckpointRecord


@dataclass(frozen=True, slots=True)
class Session:
    """The moving parts of one training session.

    Args:
        meter: Counts steps.
        run_clock: Knows how far the run is.
        guard: Knows whether a signal came.
        store: Gets the checkpoints.
        identity: What ties the checkpoints to this run.
        has_own_loss: Only supervised positions go through the head.
        packing: How rows are packed.
        selection: Which held-out measurement was the best.
        checkpoint: Where the session goes on from; None for a new run.
        course: How far the run goes.
    """

    meter: StepMeter
    run_clock: RunClock
    guard: InterruptGuard
    store: CheckpointStore
    identity: Mapping[str, str]
    has_own_loss: bool
    packing: PackingPlan
    selection: Selection
    checkpoint: OpenCheckpoint | None
    course: Course

    @property
    def first_step(self) -> int:
        """Steps that earlier sessions did."""
        return self.checkpoint.record.step if self.checkpoint else 0

    @property
    def is_complete(self) -> bool:
        """Tell whether earlier sessions did every step already, or stopped early."""
        if self.checkpoint is None:
            return False
        elapsed = self.checkpoint.record.elapsed_seconds
        return self.selection.should_stop or self.course.is_over(self.first_step, elapsed)

    def record(self, step: int) -> CheckpointRecord:
        """Return the record of a checkpoint at a step."""
        return CheckpointRecord(
            step=step,
            elapsed_seconds=self.run_clock.elapsed_seconds,
            identity=dict(self.identity),
            versions=installed_versions(),
            selection=self.selection.state(),
        )


def open_checkpoint(
    resume: Path | str, *, run: RunFolder, identity: Mapping[str, str]
) -> OpenCheckpoint:
    """Find the checkpoint that a run goes on from and drop the figures that come after it.

    Args:
        resume: ``last``, a run folder or a checkpoint.
        run: The run that goes on.
        identity: What ties a checkpoint to this run.

    Raises:
        RunFolderError: There is no whole checkpoint, or the run cannot be written.
        ResumeMismatchError: The checkpoint has other data, another format or another base.
    """
    folder = find_checkpoint(resume, run=run.path)
    record = CheckpointRecord.read(folder)
    record.refuse_other(identity, folder)
    if record.identity.get(_SETTINGS_KEY) != identity.get(_SETTINGS_KEY):
        _logger.warning("the settings changed since %s was written", folder)
    if record.versions != installed_versions():
        _logger.warning("package versions changed since %s was written", folder)
    rows = run.read_metrics()
    kept = [row for row in rows if _step(row) <= record.step]
    if len(kept) < len(rows):
        run.write_jsonl(run.metrics, kept)
    _logger.info("resuming from %s at step %d", folder, record.step)
    return OpenCheckpoint(folder, record)


def restore_selection(
    selection: Selection, checkpoint: OpenCheckpoint, store: CheckpointStore
) -> None:
    """Go on with the best of a checkpoint; one whose own checkpoint is gone is forgotten.

    Args:
        selection: Of the session that goes on.
        checkpoint: Where it goes on from.
        store: Holds the checkpoint of the best step.
    """
    selection.restore(checkpoint.record.selection)
    step = selection.best_step
    if step is not None and store.at(step) is None:
        _logger.warning("the best checkpoint so far, of step %d, is gone; looking anew", step)
        selection.forget_best()


def tell_course(
    before: Course, now: Course, checkpoint: OpenCheckpoint, selection: Selection
) -> None:
    """Say how far a run goes that goes on, and whether its learning rate rises again."""
    record = checkpoint.record
    for line in resume_news(
        before,
        now,
        step=record.step,
        elapsed_seconds=record.elapsed_seconds,
        has_stopped_early=selection.should_stop,
    ):
        _logger.info(line)


def _step(row: Mapping[str, object]) -> int:
    """Return the step of a row of figures, 0 where it has none."""
    step = row.get("step")
    return step if isinstance(step, int) else 0
