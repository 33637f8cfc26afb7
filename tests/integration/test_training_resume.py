from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.errors import (
    InterruptedRunError,
    NonFiniteLossError,
    NoSupervisedTokensError,
    NotEnoughMemoryError,
    ResumeMismatchError,
    RunFolderError,
)
from fim.runs import RunFolder, RunState
from fim.training import find_checkpoint
from fim.training.checkpoints import CheckpointRecord
from fim.training.sft import RowTrainer
from training_toys import (
    FORMAT,
    Interrupter,
    ManualClock,
    ProgressRecorder,
    is_same_adapter,
    toy_loaded,
    toy_rows,
    toy_settings,
    toy_trainer,
    write_learner,
)

if TYPE_CHECKING:
    import torch

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_learner(tmp_path_factory.mktemp("resume-toy"))


@pytest.fixture
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def figures(run: Path) -> list[tuple[object, object, object]]:
    rows = RunFolder.open(run).read_metrics()
    return [(row["step"], row["loss"], row["learning_rate"]) for row in rows if "loss" in row]


@pytest.mark.parametrize("stop_at", [3, 5, 7])
def test_interrupted_and_resumed_equals_uninterrupted(
    learner: Path, tmp_path: Path, stop_at: int, signals: None
) -> None:
    settings = toy_settings(max_steps=-1, num_train_epochs=2, gradient_accumulation_steps=1)
    rows = toy_rows(18)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    toy_trainer(toy_loaded(learner), whole, rows=rows, settings=settings).train()

    first = toy_trainer(
        toy_loaded(learner),
        parts,
        rows=rows,
        settings=settings,
        progress=Interrupter(stop_at),
        resume_command="fim train --resume last",
    )
    with pytest.raises(InterruptedRunError) as stopped:
        first.train()
    last = parts / "checkpoints" / f"checkpoint-{stop_at}"
    assert stopped.value.hint == "fim train --resume last"
    assert stopped.value.context["checkpoint"] == str(last)
    assert RunFolder.open(parts).status.state is RunState.INTERRUPTED
    assert not (parts / "adapter").exists()

    second = toy_trainer(toy_loaded(learner), parts, rows=rows, settings=settings)
    result = second.train("last")
    assert result.steps == 10
    assert is_same_adapter(whole, parts)
    assert figures(whole) == figures(parts)


def test_a_second_process_goes_on_from_a_killed_one(learner: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    settings = toy_settings(max_steps=12, save_steps=2, save_total_limit=3)
    toy_trainer(toy_loaded(learner), whole, settings=settings).train()
    killed = tmp_path / "killed"
    stop = toy_trainer(
        toy_loaded(learner), killed, settings=settings, progress=Interrupter(4, times=2)
    )
    with pytest.raises(InterruptedRunError, match="checkpoint-2"):
        stop.train()
    half_written = killed / "checkpoints" / ".draft-checkpoint-6-1" / "checkpoint-6"
    half_written.mkdir(parents=True)
    RunFolder.open(killed).append_metrics({"step": 6, "loss": 1.0})
    toy_trainer(toy_loaded(learner), killed, settings=settings).train(killed)
    assert is_same_adapter(whole, killed)
    assert not half_written.exists()
    assert figures(whole) == figures(killed)


@pytest.mark.timeout(120)
def test_ctrl_c_in_a_process_writes_a_checkpoint_and_says_how_to_go_on(
    learner: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, str(TESTS / "training_child.py"), str(learner), str(run)]
    places = os.pathsep.join([str(TESTS), *sys.path])
    environment = {**os.environ, "PYTHONPATH": places, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        while child.stdout.readline().strip() != "3":
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        rest = child.stdout.read().strip().splitlines()
    assert child.returncode == 130
    message, hint = rest[-1].split("|")
    assert hint == "fim train --resume last"
    checkpoint = find_checkpoint("last", run=run)
    assert str(checkpoint) in message
    settings = toy_settings(max_steps=40)
    toy_trainer(toy_loaded(learner), run, settings=settings).train(checkpoint)
    whole = tmp_path / "whole"
    toy_trainer(toy_loaded(learner), whole, settings=settings).train()
    assert is_same_adapter(whole, run)


def test_a_checkpoint_of_the_last_step_needs_no_more_steps(learner: Path, tmp_path: Path) -> None:
    settings = toy_settings(max_steps=2)
    toy_trainer(toy_loaded(learner), tmp_path / "run", settings=settings).train()
    whole = toy_trainer(toy_loaded(learner), tmp_path / "whole", settings=settings).train()
    trainer = toy_trainer(toy_loaded(learner), tmp_path / "run", settings=settings)
    result = trainer.train(tmp_path / "run")
    assert (result.steps, result.train_loss) == (2, whole.train_loss)
    assert is_same_adapter(tmp_path / "whole", tmp_path / "run")


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"rows": toy_rows(seed=9)}, "data"),
        ({"format_record": replace(FORMAT, fingerprint="format-b")}, "format"),
        ({"fingerprints": {"config": "c", "tokenizer": "t"}}, "tokenizer"),
    ],
)
def test_another_run_is_refused_by_name(
    learner: Path, tmp_path: Path, changes: dict[str, object], differs: str
) -> None:
    run = tmp_path / "run"
    toy_trainer(toy_loaded(learner), run, settings=toy_settings(max_steps=1)).train()
    trainer = toy_trainer(toy_loaded(learner), run, **changes)  # type: ignore[arg-type]
    with pytest.raises(ResumeMismatchError, match=f"another {differs} ") as refused:
        trainer.train("last")
    assert refused.value.context["differs"] == [differs]


def test_another_base_is_refused_and_other_settings_are_told(
    learner: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    settings = toy_settings(max_steps=1)
    toy_trainer(toy_loaded(learner), run, settings=settings).train()
    other = replace(toy_loaded(learner), name="someone/else")
    with pytest.raises(ResumeMismatchError, match="another base"):
        toy_trainer(other, run).train("last")
    again = toy_trainer(
        toy_loaded(learner), run, settings=settings, fingerprints={"config": "changed"}
    )
    again.train("last")
    assert "the settings changed since" in caplog.text


def test_nothing_to_resume_is_an_error(learner: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no checkpoint in"):
        toy_trainer(toy_loaded(learner), tmp_path / "run").train("last")


def weights(trainer_model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: each.detach().clone() for name, each in trainer_model.named_parameters()}


@pytest.mark.parametrize("what", ["loss", "gradient norm"])
def test_a_figure_that_is_no_number_stops_before_the_update(
    learner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    import torch

    loaded = toy_loaded(learner)
    kept: list[dict[str, torch.Tensor]] = []
    plain = RowTrainer.compute_loss

    def poisoned(self: RowTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        loss = plain(self, *args, **kwargs)  # type: ignore[arg-type]
        if self.state.global_step < 2:
            return loss
        kept.append(weights(loaded.model))
        if what == "loss":
            return loss * float("nan")
        trained = next(each for each in loaded.model.parameters() if each.requires_grad)
        trained.register_hook(lambda grad: grad * float("inf"))
        return loss

    monkeypatch.setattr(RowTrainer, "compute_loss", poisoned)
    with pytest.raises(NonFiniteLossError, match=f"{what} of step 3 is (nan|inf)"):
        toy_trainer(loaded, tmp_path / "run").train()
    after = weights(loaded.model)
    assert all(torch.equal(after[name], each) for name, each in kept[-1].items())
    status = RunFolder.open(tmp_path / "run").status
    assert status.state is RunState.FAILED
    assert "step 3" in status.reason


def test_a_step_without_trained_tokens_stops(
    learner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fim.training.trainer.check_rows", lambda rows: None)
    rows = [replace(row, labels=(-100,) * len(row.labels)) for row in toy_rows(4)]
    with pytest.raises(NoSupervisedTokensError, match="Step 1 has 4 rows"):
        toy_trainer(toy_loaded(learner), tmp_path / "run", rows=rows).train()


def test_a_step_that_does_not_fit_says_what_helps(
    learner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    monkeypatch.setattr(RowTrainer, "training_step", full)
    with pytest.raises(NotEnoughMemoryError, match="4 rows does not fit") as error:
        toy_trainer(toy_loaded(learner), tmp_path / "run").train()
    assert "gradient_accumulation_steps" in error.value.hint


def test_a_time_budget_ends_the_run_with_the_rate_decayed(learner: Path, tmp_path: Path) -> None:
    clock = ManualClock(tick_seconds=0.25)
    progress = ProgressRecorder()
    result = toy_trainer(
        toy_loaded(learner),
        tmp_path / "run",
        settings=toy_settings(max_steps=10_000, max_minutes=1.0),
        progress=progress,
        clock=clock,
    ).train()
    rows = RunFolder.open(tmp_path / "run").read_metrics()
    rates = [float(str(row["learning_rate"])) for row in rows]
    assert 5 < result.steps < 60
    assert 55 < float(str(rows[-1]["seconds"])) <= 62
    assert rates[-1] < 0.1 * max(rates)
    assert progress.stages == [("training", 60)]
    assert progress.done == sorted(progress.done)
    assert progress.done[-1] <= 60
    record = CheckpointRecord.read(find_checkpoint(tmp_path / "run"))
    assert record.step == result.steps
    assert record.elapsed_seconds > 55


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint(
    learner: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    import transformers

    plain = transformers.Trainer._save_checkpoint

    def full(self: RowTrainer, model: torch.nn.Module, trial: object) -> None:
        if self.state.global_step == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        plain(self, model, trial)

    monkeypatch.setattr(transformers.Trainer, "_save_checkpoint", full)
    settings = toy_settings(save_steps=2)
    with pytest.raises(RunFolderError, match="No space left"):
        toy_trainer(toy_loaded(learner), tmp_path / "run", settings=settings).train()
    assert find_checkpoint(tmp_path / "run").name == "checkpoint-2"
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["checkpoint-2"]
