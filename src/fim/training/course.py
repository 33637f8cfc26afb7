"""The course of a run: where it ends, which rate a step has, and what a resumed run says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.training.schedule import RunClock, Schedule

if TYPE_CHECKING:
    from fim.config import TrainSettings

SECONDS_PER_MINUTE = 60
_LEAST_RISE = 1.001


@dataclass(frozen=True, slots=True)
class Course:
    """How far a run goes.

    Args:
        settings: Rate, schedule and bounds.
        num_steps: Steps after which it ends.
    """

    settings: TrainSettings
    num_steps: int

    @property
    def budget_seconds(self) -> float | None:
        """Wall time after which the run ends; None for no such bound."""
        minutes = self.settings.max_minutes
        return None if minutes is None else minutes * SECONDS_PER_MINUTE

    @property
    def end(self) -> str:
        """Where the run ends, in words."""
        minutes = self.settings.max_minutes
        timed = "" if minutes is None else f" or after {minutes:g} minutes"
        return f"step {self.num_steps}{timed}"

    def rate(self, step: int, elapsed_seconds: float) -> float:
        """Return the learning rate of the step after a number of steps."""
        progress = self._clock(elapsed_seconds).progress(step)
        schedule = Schedule(self.settings.lr_scheduler_type, self.settings.warmup_ratio)
        return self.settings.learning_rate * schedule.scale(progress)

    def is_over(self, step: int, elapsed_seconds: float) -> bool:
        """Tell whether nothing is left after a number of steps, at the mean time of a step."""
        mean = elapsed_seconds / max(step, 1)
        return step >= self.num_steps or self._clock(elapsed_seconds).is_over(mean)

    def _clock(self, elapsed_seconds: float) -> RunClock:
        return RunClock(
            num_steps=self.num_steps,
            budget_seconds=self.budget_seconds,
            spent_seconds=elapsed_seconds,
        )


def resume_news(
    before: Course, now: Course, *, step: int, elapsed_seconds: float, has_stopped_early: bool
) -> tuple[str, ...]:
    """Return what a run that goes on has to say, one sentence each.

    Args:
        before: Its course until now.
        now: Its course from now on.
        step: Steps done.
        elapsed_seconds: Wall time spent.
        has_stopped_early: A held-out figure ended it.
    """
    news = []
    if now.end != before.end:
        news.append(f"the schedule now ends at {now.end} (before: {before.end})")
    if has_stopped_early:
        metric = now.settings.early_stopping_metric
        return (
            *news,
            f"the run is complete: {metric} stopped it at step {step}, and nothing is left to "
            "train; train.early_stopping_metric=none or more train.early_stopping_patience goes on",
        )
    if now.is_over(step, elapsed_seconds):
        is_by_time = step < now.num_steps
        spent = f", {elapsed_seconds / SECONDS_PER_MINUTE:.1f} minutes spent" if is_by_time else ""
        longer = (
            f"train.max_minutes={2 * (now.settings.max_minutes or 1):g}"
            if is_by_time
            else f"train.max_steps={2 * max(step, now.num_steps)}"
        )
        return (
            *news,
            f"the run is complete at step {step} of {now.num_steps}{spent}: nothing is left to "
            f"train; `--set {longer}` trains it longer",
        )
    news.append(f"goes on after step {step} of {now.num_steps}")
    was, is_now = before.rate(step, elapsed_seconds), now.rate(step, elapsed_seconds)
    if is_now > was * _LEAST_RISE:
        news.append(
            f"the learning rate rises again: it had come down to {was:.2g} and is {is_now:.2g} at "
            f"step {step + 1}"
        )
    return tuple(news)
