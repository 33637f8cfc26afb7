from __future__ import annotations

import json
import math

import pytest

from fim.errors import ConflictingSettingsError
from fim.training.selection import BestSoFar, Selection, check_selection
from training_toys import toy_settings


def noted(metric: str, values: list[float], *, min_delta: float = 0.0) -> BestSoFar:
    best = BestSoFar(metric, min_delta=min_delta)
    for step, value in enumerate(values, start=1):
        best.note(step, {metric: value})
    return best


@pytest.mark.parametrize(
    ("metric", "values", "step"),
    [
        ("eval_loss", [3.0, 2.0, 2.5], 2),
        ("nll_per_token", [3.0, 4.0, 2.0], 3),
        ("exact_match", [0.1, 0.3, 0.2], 2),
        ("edit_similarity", [0.5, 0.4, 0.5], 1),
        ("stop_rate", [0.0, 1.0, 0.9], 2),
    ],
)
def test_every_figure_has_its_direction(metric: str, values: list[float], step: int) -> None:
    best = noted(metric, values).best
    assert best is not None
    assert (best.step, best.value) == (step, values[step - 1])
    assert best.figures == {metric: values[step - 1]}


def test_a_small_gain_counts_as_none_and_a_repeated_step_not_at_all() -> None:
    best = noted("eval_loss", [2.0, 1.95, 1.92], min_delta=0.1)
    assert best.num_stale == 2
    assert not best.note(3, {"eval_loss": 0.0})
    assert best.note(4, {"eval_loss": 1.5})
    assert best.num_stale == 0


def test_no_number_is_never_the_best() -> None:
    best = noted("eval_loss", [math.nan, 2.0, math.nan])
    assert best.best is not None
    assert best.best.step == 2
    assert best.num_stale == 1
    assert noted("none", [1.0]).best is None


def test_patience_ends_a_run_and_survives_a_checkpoint() -> None:
    settings = toy_settings(
        early_stopping_metric="exact_match",
        early_stopping_patience=2,
        best_metric="eval_loss",
    )
    first = Selection(settings)
    assert first.note(1, {"exact_match": 0.5, "eval_loss": 3.0})
    assert first.note(2, {"exact_match": 0.5, "eval_loss": 2.0})
    assert not first.should_stop
    second = Selection(settings)
    second.restore(json.loads(json.dumps(first.state())))
    assert second.best == first.best
    assert not second.note(3, {"exact_match": 0.4, "eval_loss": 2.5})
    assert second.should_stop
    assert second.best_step == 2
    second.forget_best()
    assert second.best_step is None


def test_a_figure_that_the_settings_changed_starts_anew() -> None:
    first = Selection(toy_settings(best_metric="eval_loss"))
    first.note(1, {"eval_loss": 3.0})
    other = Selection(toy_settings(best_metric="exact_match"))
    other.restore(first.state())
    assert other.best is None
    other.restore({})
    assert other.best is None


def test_a_figure_that_is_not_measured_cannot_decide() -> None:
    check_selection(toy_settings(), has_rows=False, has_holes=False)
    settings = toy_settings(best_metric="eval_loss")
    check_selection(settings, has_rows=True, has_holes=False)
    with pytest.raises(ConflictingSettingsError, match="no held-out rows") as no_rows:
        check_selection(settings, has_rows=False, has_holes=False)
    assert "FIM_DATA_HELD_OUT_FRACTION" in no_rows.value.hint
    settings = toy_settings(early_stopping_metric="exact_match")
    check_selection(settings, has_rows=True, has_holes=True)
    with pytest.raises(
        ConflictingSettingsError, match=r"train\.early_stopping_metric is exact_match"
    ) as no_holes:
        check_selection(settings, has_rows=True, has_holes=False)
    assert "FIM_TRAIN_EVAL_GENERATION_HOLES=16" in no_holes.value.hint
