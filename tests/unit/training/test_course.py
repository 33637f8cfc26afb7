"""How far a run goes, and what one that goes on says of it."""

from __future__ import annotations

import pytest

from fim.config import TrainSettings
from fim.training.course import Course, resume_news


def course(num_steps: int, **settings: object) -> Course:
    return Course(TrainSettings.model_validate(settings), num_steps)


def news(before: Course, now: Course, step: int, minutes: float = 1.0) -> tuple[str, ...]:
    return resume_news(
        before, now, step=step, elapsed_seconds=60 * minutes, has_stopped_early=False
    )


def test_a_run_that_goes_on_as_it_was_says_only_where_it_is() -> None:
    assert news(course(9), course(9), 4) == ("goes on after step 4 of 9",)


@pytest.mark.parametrize("kind", ["cosine", "linear", "polynomial"])
def test_a_schedule_that_came_down_rises_again(kind: str) -> None:
    before = course(4, lr_scheduler_type=kind, learning_rate=1e-3)
    end, place, rate = news(before, course(8, lr_scheduler_type=kind, learning_rate=1e-3), 4)
    assert end == "the schedule now ends at step 8 (before: step 4)"
    assert place == "goes on after step 4 of 8"
    assert rate.startswith("the learning rate rises again: it had come down to 0 and is 0.000")
    assert rate.endswith("at step 5")


def test_a_constant_rate_does_not_rise_and_a_higher_one_does() -> None:
    before = course(4, lr_scheduler_type="constant", learning_rate=1e-4)
    longer = course(8, lr_scheduler_type="constant", learning_rate=1e-4)
    assert not any("rises" in line for line in news(before, longer, 4))
    higher = course(8, lr_scheduler_type="constant", learning_rate=1e-3)
    assert any(
        "rises again: it had come down to 0.0001" in line for line in news(before, higher, 4)
    )


@pytest.mark.parametrize(
    ("now", "minutes", "longer"),
    [
        (course(4), 1.0, "`--set train.max_steps=8`"),
        (course(2), 1.0, "`--set train.max_steps=8`"),
        (course(900, max_minutes=5), 4.8, "`--set train.max_minutes=10`"),
    ],
)
def test_a_run_with_nothing_left_is_complete_and_says_what_goes_on(
    now: Course, minutes: float, longer: str
) -> None:
    told = news(now, now, 4, minutes)
    assert told[0].startswith("the run is complete at step 4 of ")
    assert longer in told[0]


def test_a_run_that_stopped_early_says_by_what() -> None:
    now = course(9, early_stopping_metric="eval_loss")
    told = resume_news(now, now, step=4, elapsed_seconds=1.0, has_stopped_early=True)
    assert "eval_loss stopped it at step 4" in told[0]
