from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from fim.bookkeeping import open_run
from fim.config import load_settings
from fim.runs import RunFolder
from fim.runs.followed import FollowedRun
from fim.training import processes
from fim.training.checkpoints import CheckpointRecord, CheckpointStore
from fim.training.interrupts import InterruptGuard
from fim.training.meter import StepMeter
from fim.training.schedule import RunClock


@pytest.fixture
def group() -> Iterator[None]:
    """A group of one, asked as if it were larger."""
    import torch.distributed as group

    group.init_process_group("gloo", rank=0, world_size=1, store=group.HashStore())
    yield
    group.destroy_process_group()


def test_one_process_is_the_main_one_and_waits_for_nobody() -> None:
    assert processes.num_processes() == 1
    assert processes.is_main()
    processes.join_group()
    processes.wait_for_all()
    assert processes.of_main("value") == "value"
    assert processes.of_any(True, False) == (True, False)
    assert processes.summed([1, 2.5]) == [1, 2.5]


def test_the_environment_of_torchrun_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("RANK", "3")
    assert processes.num_processes() == 4
    assert not processes.is_main()


def test_joining_goes_through_accelerate(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[dict[str, object]] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("accelerate.PartialState", lambda **given: joined.append(given))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    processes.join_group()
    assert joined == [{"cpu": True}]


def test_values_go_through_the_group(monkeypatch: pytest.MonkeyPatch, group: None) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    processes.wait_for_all()
    assert processes.of_main({"a": Path("b")}) == {"a": Path("b")}
    assert processes.summed([2**40 + 1, 0.5]) == [2**40 + 1, 0.5]
    assert processes.of_any(False, True) == (False, True)


@pytest.mark.parametrize("said", [(True, False), (False, True), (False, False)])
def test_what_any_process_says_ends_all(
    monkeypatch: pytest.MonkeyPatch, said: tuple[bool, bool]
) -> None:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from fim.training.callbacks import StopCallback

    asked: list[tuple[bool, ...]] = []
    monkeypatch.setattr("fim.training.callbacks.of_any", lambda *own: asked.append(own) or said)
    guard, control = InterruptGuard(), TrainerControl()
    clock = RunClock(num_steps=9, budget_seconds=60.0)
    stop = StopCallback(meter=StepMeter(), run_clock=clock, guard=guard)
    stop.on_step_end(cast("TrainingArguments", None), TrainerState(), control)
    assert asked == [(False, False)]
    assert control.should_training_stop == control.should_save == any(said)
    assert (guard.has_signal, guard.is_stopping) == (False, said[1])


def test_a_process_that_does_not_write_leaves_everything_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = RunFolder.create_at(tmp_path / "run")
    run.append_metrics({"step": 1, "loss": 2.0})
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    followed = FollowedRun(run.path)
    followed.set_status("failed", "not mine")
    followed.append_metrics({"step": 2})
    followed.append_sample({"step": 2})
    followed.link_latest()
    assert followed.write_json("a.json", {}) == run.path / "a.json"
    assert followed.write_text("b.txt", "") == run.path / "b.txt"
    assert followed.write_jsonl(followed.metrics, []) == run.metrics
    assert {path: path.read_bytes() for path in run.path.iterdir()} == before
    assert followed.read_metrics() == [{"step": 1, "loss": 2.0}]

    monkeypatch.setenv("RANK", "1")
    resolved = load_settings(env={}, cwd=tmp_path)
    monkeypatch.setattr("fim.bookkeeping.of_main", lambda _value: run.path)
    opened = open_run(resolved, tmp_path / "other")
    assert isinstance(opened, FollowedRun)
    assert opened.path == run.path
    assert not (tmp_path / "other").exists()
    store = CheckpointStore(run.checkpoints, limit=1)
    (run.checkpoints / ".draft-checkpoint-1-1").mkdir(parents=True)
    store.remove_drafts()
    with store.writing(CheckpointRecord(step=1, elapsed_seconds=0.0, identity={})):
        pass
    assert [path.name for path in run.checkpoints.iterdir()] == [".draft-checkpoint-1-1"]
