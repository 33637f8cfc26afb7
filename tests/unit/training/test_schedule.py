from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.training.schedule import RunClock, Schedule
from training_toys import ManualClock

KINDS = ("cosine", "linear", "polynomial", "inverse_sqrt", "constant_with_warmup", "constant")


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cosine", [0.0, 0.5, 1.0, 0.5, 0.0]),
        ("linear", [0.0, 0.5, 1.0, 0.5, 0.0]),
        ("polynomial", [0.0, 0.5, 1.0, 0.5, 0.0]),
        ("constant_with_warmup", [0.0, 0.5, 1.0, 1.0, 1.0]),
        ("constant", [1.0, 1.0, 1.0, 1.0, 1.0]),
        ("inverse_sqrt", [0.0, 0.5, 1.0, (0.2 / 0.6) ** 0.5, 0.2**0.5]),
    ],
)
def test_the_curves(kind: str, expected: list[float]) -> None:
    schedule = Schedule(kind, 0.2)
    assert [schedule.scale(at) for at in (0.0, 0.1, 0.2, 0.6, 1.0)] == pytest.approx(expected)


@given(
    st.sampled_from(KINDS),
    st.floats(0, 1),
    st.floats(-1, 2, allow_nan=False),
    st.floats(0, 1),
)
def test_a_rate_is_a_share_that_falls_after_the_warm_up(
    kind: str, warmup: float, progress: float, further: float
) -> None:
    schedule = Schedule(kind, warmup)
    assert 0 <= schedule.scale(progress) <= 1
    if progress >= warmup:
        assert schedule.scale(progress + further) <= schedule.scale(progress) + 1e-12


def test_without_a_budget_progress_is_a_matter_of_steps() -> None:
    clock = ManualClock(tick_seconds=100)
    run_clock = RunClock(num_steps=9, clock=clock)
    run_clock.start()
    assert [run_clock.progress(step) for step in (0, 4, 8)] == pytest.approx([0.1, 0.5, 0.9])
    assert not run_clock.is_over(1e9)


def test_the_budget_takes_over_when_it_is_further() -> None:
    clock = ManualClock()
    run_clock = RunClock(num_steps=99, budget_seconds=100, clock=clock)
    run_clock.start()
    assert run_clock.progress(0) == pytest.approx(0.01)
    clock.now = 50
    assert run_clock.progress(9) == pytest.approx(0.5)
    assert run_clock.progress(79) == pytest.approx(0.8)
    clock.now = 500
    assert run_clock.progress(10) == 1.0


def test_a_run_is_over_when_half_a_step_no_longer_fits() -> None:
    clock = ManualClock()
    run_clock = RunClock(num_steps=99, budget_seconds=100, spent_seconds=60, clock=clock)
    assert run_clock.elapsed_seconds == 60
    run_clock.start()
    clock.now = 30
    assert (run_clock.session_seconds, run_clock.elapsed_seconds) == (30, 90)
    assert not run_clock.is_over(10)
    assert run_clock.is_over(20)
    clock.now = 40
    assert run_clock.is_over(0)


def test_a_run_by_time_warms_up_and_decays_to_nothing() -> None:
    clock = ManualClock()
    run_clock = RunClock(num_steps=1_000_000, budget_seconds=60, clock=clock)
    schedule = Schedule("cosine", 0.1)
    run_clock.start()
    rates, step = [], 0
    while not run_clock.is_over(1.0):
        rates.append(schedule.scale(run_clock.progress(step)))
        clock.now += 1
        step += 1
    assert step == 60
    assert max(rates) == pytest.approx(1.0, abs=1e-3)
    assert 0 < rates[-1] < 0.01
    assert rates[6:] == sorted(rates[6:], reverse=True)
