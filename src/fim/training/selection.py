"""Which held-out measurement of a run was the best, and whether going on is still worth it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, TypeGuard

from fim.errors import ConflictingSettingsError

if TYPE_CHECKING:
    from fim.config import TrainSettings

EVAL_LOSS = "eval_loss"
NONE = "none"
HIGHER_IS_BETTER: Mapping[str, bool] = {
    EVAL_LOSS: False,
    "nll_per_token": False,
    "exact_match": True,
    "edit_similarity": True,
    "stop_rate": True,
}


@dataclass(frozen=True, slots=True)
class Best:
    """The best measurement so far of one figure.

    Args:
        step: Optimizer steps at which it was measured.
        value: The figure.
        figures: All figures of that measurement.
    """

    step: int
    value: float
    figures: Mapping[str, float]


class BestSoFar:
    """Follows one figure; ``none`` follows nothing.

    Args:
        metric: Name of the figure.
        min_delta: Least change that counts as a gain.
    """

    def __init__(self, metric: str, *, min_delta: float = 0.0) -> None:
        self.metric = metric
        self.best: Best | None = None
        self.num_stale = 0
        self._min_delta = min_delta
        self._last_step = -1

    def note(self, step: int, figures: Mapping[str, float]) -> bool:
        """Take a measurement and tell whether it is the best so far.

        A figure that is no number is never the best; a step that was noted already changes nothing.

        Args:
            step: Optimizer steps done.
            figures: Name -> figure.
        """
        if self.metric == NONE or step <= self._last_step:
            return False
        self._last_step = step
        value = figures[self.metric]
        is_first = self.best is None and not math.isnan(value)
        if is_first or (self.best is not None and self._is_gain(value, self.best.value)):
            self.best, self.num_stale = Best(step, value, dict(figures)), 0
            return True
        self.num_stale += 1
        return False

    def _is_gain(self, value: float, before: float) -> bool:
        """Tell whether a figure is better than another by more than the least change."""
        change = value - before if HIGHER_IS_BETTER[self.metric] else before - value
        return change > self._min_delta

    def state(self) -> dict[str, object]:
        """Return what a checkpoint keeps."""
        best = asdict(self.best) if self.best is not None else None
        return {"best": best, "num_stale": self.num_stale, "last_step": self._last_step}

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from the state of a checkpoint."""
        best = state.get("best")
        self.best = Best(**best) if _is_map(best) else None  # type: ignore[arg-type]
        self.num_stale = int(str(state.get("num_stale", 0)))
        self._last_step = int(str(state.get("last_step", -1)))


class Selection:
    """Best checkpoint and early stopping over held-out figures.

    Args:
        settings: Which figures decide, and how patiently.
    """

    def __init__(self, settings: TrainSettings) -> None:
        self.kept = BestSoFar(settings.best_metric)
        self.stopping = BestSoFar(
            settings.early_stopping_metric, min_delta=settings.early_stopping_min_delta
        )
        self._patience = settings.early_stopping_patience

    @property
    def best(self) -> Best | None:
        """The measurement whose weights are to become the adapter; None for the last."""
        return self.kept.best

    @property
    def best_step(self) -> int | None:
        """Step of the best, whose checkpoint is kept."""
        return self.kept.best.step if self.kept.best is not None else None

    @property
    def should_stop(self) -> bool:
        """Tell whether the figure of early stopping has not improved for too long."""
        return self.stopping.num_stale >= self._patience

    def note(self, step: int, figures: Mapping[str, float]) -> bool:
        """Take a measurement and tell whether its weights are the best so far."""
        self.stopping.note(step, figures)
        return self.kept.note(step, figures)

    def forget_best(self) -> None:
        """Start the search for the best anew, where its checkpoint is gone."""
        self.kept.best = None

    def state(self) -> dict[str, object]:
        """Return what a checkpoint keeps: for each figure its best, by the figure's name."""
        return {
            "kept": {"metric": self.kept.metric, **self.kept.state()},
            "stopping": {"metric": self.stopping.metric, **self.stopping.state()},
        }

    def restore(self, state: Mapping[str, object]) -> None:
        """Go on from the state of a checkpoint; a figure that the settings changed starts anew."""
        for name, each in (("kept", self.kept), ("stopping", self.stopping)):
            stored = state.get(name)
            if _is_map(stored) and stored.get("metric") == each.metric:
                each.restore(stored)


def check_selection(settings: TrainSettings, *, has_rows: bool, has_holes: bool) -> None:
    """Refuse figures that would never be measured.

    Args:
        settings: Which figures decide.
        has_rows: There are held-out rows.
        has_holes: Held-out holes are completed during training.

    Raises:
        ConflictingSettingsError: A figure that decides is not measured.
    """
    for name in ("best_metric", "early_stopping_metric"):
        metric = getattr(settings, name)
        if metric == NONE:
            continue
        if metric == EVAL_LOSS and not has_rows:
            raise ConflictingSettingsError(
                f"train.{name} is {metric} and there are no held-out rows to measure it on.",
                hint="Hold some examples out (FIM_DATA_HELD_OUT_FRACTION=0.1), or set it to none.",
            )
        if metric != EVAL_LOSS and not has_holes:
            raise ConflictingSettingsError(
                f"train.{name} is {metric}, which is measured by completing held-out holes, and "
                "none is completed during training.",
                hint="FIM_TRAIN_EVAL_GENERATION_HOLES=16 and held-out examples, or "
                f"FIM_TRAIN_{name.upper()}=eval_loss",
            )


def _is_map(value: object) -> TypeGuard[Mapping[str, object]]:
    return isinstance(value, Mapping)
