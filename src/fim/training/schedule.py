"""Learning rates over a run that is bounded by steps, by wall time, or by both."""

from __future__ import annotations

import math
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

_UNWARMED_RATIO = 0.01


@dataclass(frozen=True, slots=True)
class Schedule:
    """A learning-rate curve over progress from 0 to 1.

    Args:
        kind: ``cosine``, ``linear``, ``polynomial`` (of degree one), ``inverse_sqrt``,
            ``constant_with_warmup`` or ``constant``, which does not warm up.
        warmup_ratio: Share of the progress that raises the rate linearly.
    """

    kind: str
    warmup_ratio: float

    def scale(self, progress: float) -> float:
        """Return the share of the highest learning rate at a progress.

        >>> Schedule("cosine", 0.1).scale(0.05)
        0.5
        """
        at = min(max(progress, 0.0), 1.0)
        if self.kind == "constant":
            return 1.0
        if at < self.warmup_ratio:
            return at / self.warmup_ratio
        if self.kind == "constant_with_warmup":
            return 1.0
        if self.kind == "inverse_sqrt":
            peak = self.warmup_ratio or _UNWARMED_RATIO
            return math.sqrt(peak / max(at, peak))
        decayed = (at - self.warmup_ratio) / max(1.0 - self.warmup_ratio, 1e-9)
        return 0.5 * (1 + math.cos(math.pi * decayed)) if self.kind == "cosine" else 1 - decayed


class RunClock:
    """How far a run is: by steps and by wall time, whichever is further.

    Args:
        num_steps: Steps after which the run ends.
        budget_seconds: Wall time after which it ends; None for no such bound.
        spent_seconds: Wall time that earlier sessions of the run took.
        clock: Seconds that only grow.
    """

    def __init__(
        self,
        *,
        num_steps: int,
        budget_seconds: float | None = None,
        spent_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.num_steps = num_steps
        self.budget_seconds = budget_seconds
        self._spent_seconds = spent_seconds
        self._clock = clock
        self._started: float | None = None

    def start(self) -> None:
        """Start counting wall time."""
        self._started = self._clock()

    @property
    def session_seconds(self) -> float:
        """Wall time of this session."""
        return 0.0 if self._started is None else self._clock() - self._started

    @property
    def elapsed_seconds(self) -> float:
        """Wall time of the run, earlier sessions included."""
        return self._spent_seconds + self.session_seconds

    def progress(self, num_done_steps: int) -> float:
        """Return how far the run is while its next step runs, between 0 and 1.

        Without a time budget this depends on the step alone, so that a resumed run repeats itself.
        The first step is past 0 and the last one before 1: no step has a learning rate of zero.
        """
        by_steps = (num_done_steps + 1) / (self.num_steps + 1)
        return min(1.0, max(by_steps, self._time_share()))

    def is_over(self, step_seconds: float) -> bool:
        """Tell whether the time budget ends before half of another step.

        Args:
            step_seconds: What a step takes.
        """
        if self.budget_seconds is None:
            return False
        return self.elapsed_seconds + step_seconds / 2 >= self.budget_seconds

    def _time_share(self) -> float:
        """Return the share of the time budget that is spent."""
        if self.budget_seconds is None:
            return 0.0
        return self.elapsed_seconds / self.budget_seconds


@contextmanager
def rates_kept(optimizer: Optimizer | None, scheduler: LRScheduler | None) -> Iterator[None]:
    """Keep the learning rate and weight decay as they are set while a checkpoint's state is loaded.

    The step counted in the checkpoint then has the rate of the schedule as it is now.

    Args:
        optimizer: Its groups hold what is set.
        scheduler: Its schedule and highest rates; another kind than the run's own is left alone.
    """
    from torch.optim.lr_scheduler import LambdaLR

    if optimizer is None or not isinstance(scheduler, LambdaLR):
        yield
        return
    highest = list(scheduler.base_lrs)
    decays = [group["weight_decay"] for group in optimizer.param_groups]
    yield
    scheduler.base_lrs = highest
    scales = [scale(scheduler.last_epoch) for scale in scheduler.lr_lambdas]
    for group, rate, decay, scale in zip(
        optimizer.param_groups, highest, decays, scales, strict=True
    ):
        group |= {"initial_lr": rate, "lr": rate * scale, "weight_decay": decay}
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]  # noqa: SLF001
