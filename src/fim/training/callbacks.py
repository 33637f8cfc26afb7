"""What happens around training steps: figures, held-out loss, time budget, interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers import TrainerCallback

from fim.training.meter import peak_memory_mib
from fim.training.processes import of_any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from transformers import TrainerControl, TrainerState, TrainingArguments

    from fim.runs import RunFolder
    from fim.training.interrupts import InterruptGuard
    from fim.training.meter import StepMeter
    from fim.training.schedule import RunClock
    from fim.training.selection import Selection
    from fim.types import Progress

STAGE = "training"
_LOGGED = ("loss", "learning_rate", "grad_norm", "epoch")
_SPEEDS = ("tokens_per_second", "supervised_tokens_per_second", "holes_per_second")


class StopCallback(TrainerCallback):
    """Ends training at the time budget or on a signal, in every process at the same step.

    Args:
        meter: Knows what a step takes.
        run_clock: Knows the time budget.
        guard: Knows whether a signal came.
    """

    def __init__(self, *, meter: StepMeter, run_clock: RunClock, guard: InterruptGuard) -> None:
        self._meter = meter
        self._run_clock = run_clock
        self._guard = guard

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """End training where it is time to, with a checkpoint."""
        is_over = self._run_clock.is_over(self._meter.mean_step_seconds)
        is_over, self._guard.is_stopping = of_any(is_over, self._guard.has_signal)
        if is_over or self._guard.is_stopping:
            control.should_training_stop = True
            control.should_save = True


class MetricsCallback(TrainerCallback):
    """Closes each step's time, writes a row of figures per log, and reports progress.

    Called first, so that the time of a step is that of its work alone.

    Args:
        run: Gets the rows.
        meter: Counts steps.
        run_clock: Knows how far the run is.
        device: Whose memory is reported.
        progress: Gets the steps, or the seconds of the time budget where there is one.
    """

    def __init__(
        self,
        *,
        run: RunFolder,
        meter: StepMeter,
        run_clock: RunClock,
        device: str,
        progress: Progress | None,
    ) -> None:
        self._run = run
        self._meter = meter
        self._run_clock = run_clock
        self._device = device
        self._progress = progress
        self._facts: dict[str, float] = {}

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Open the stage; steps between logs and checkpoints are those set now, not before."""
        state.compute_steps(args, state.max_steps)  # type: ignore[no-untyped-call]
        if self._progress is not None:
            self._progress.start(STAGE, self._total())
            self._progress.advance(self._done(state.global_step))

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Close the step and report how far the run is."""
        self._meter.end_step()
        if self._progress is not None:
            self._progress.advance(self._done(state.global_step), **self._facts)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: object,
    ) -> None:
        """Write the figures of the steps since the last log."""
        figures = logs or {}
        if "loss" not in figures:
            return
        named = {name: float(figures[name]) for name in _LOGGED if name in figures}
        speeds = {name: float(figures[name]) for name in _SPEEDS}
        row: dict[str, object] = {
            "step": state.global_step,
            **named,
            **speeds,
            "memory_mib": peak_memory_mib(self._device),
            "seconds": self._run_clock.elapsed_seconds,
        }
        self._run.append_metrics(row)
        self._facts |= {"loss": named["loss"], "lr": named["learning_rate"], **speeds}
        self._facts["memory_mib"] = float(str(row["memory_mib"]))

    def note_held_out(self, step: int, figures: Mapping[str, float], seconds: float) -> None:
        """Write held-out figures and show them from now on.

        Args:
            step: Steps done.
            figures: Name -> figure.
            seconds: Time that measuring them took.
        """
        self._run.append_metrics(
            {
                "step": step,
                **figures,
                "eval_seconds": seconds,
                "seconds": self._run_clock.elapsed_seconds,
            }
        )
        self._facts.update(figures)

    def close(self, summary: str) -> None:
        """Close the stage of the progress."""
        if self._progress is not None:
            self._progress.finish(summary)

    def _total(self) -> int:
        """Return the units of the whole run."""
        if self._run_clock.budget_seconds is None:
            return self._run_clock.num_steps
        return max(1, round(self._run_clock.budget_seconds))

    def _done(self, step: int) -> int:
        """Return the units done."""
        if self._run_clock.budget_seconds is None:
            return step
        return round(self._run_clock.progress(step - 1) * self._total())


class HeldOutCallback(TrainerCallback):
    """Measures every so many steps and at the end, keeps the best, and stops where it is time to.

    Called after :class:`StopCallback`, so that it knows the last step.

    Args:
        interval_steps: Steps between two measurements.
        measure: Measures and writes it down; gets the step.
        selection: Knows the best and when to stop.
        guard: Knows whether a signal ends the run; then nothing is measured besides.
    """

    def __init__(
        self,
        *,
        interval_steps: int,
        measure: Callable[[int], Mapping[str, float]],
        selection: Selection,
        guard: InterruptGuard,
    ) -> None:
        self._interval_steps = interval_steps
        self._measure = measure
        self._selection = selection
        self._guard = guard
        self.log: Callable[[dict[str, float]], None] | None = None

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: object,
    ) -> None:
        """Measure on the steps that are due; a new best gets a checkpoint."""
        is_last = control.should_training_stop and not self._guard.is_stopping
        if not is_last and state.global_step % self._interval_steps:
            return
        figures = self._measure(state.global_step)
        if self.log is not None and figures:
            is_log_due = control.should_log
            self.log({tracked_name(name): value for name, value in figures.items()})
            control.should_log = is_log_due
        if self._selection.note(state.global_step, figures):
            control.should_save = True
        if self._selection.should_stop:
            control.should_training_stop = True
            control.should_save = True


def tracked_name(figure: str) -> str:
    """Return the name of a held-out figure for a tracker, which groups by the first word."""
    return figure if figure.startswith("eval_") else f"eval_{figure}"
