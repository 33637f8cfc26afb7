from __future__ import annotations

import shutil
import signal
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
from fim.training.order import pass_epochs_on, shuffled_order
from fim.training.sft import RowSampler, RowTrainer
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
)

if TYPE_CHECKING:
    import torch


@pytest.fixture
def signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    assert signal.getsignal(signal.SIGINT) is before


def figures(run: Path) -> list[tuple[object, object, object]]:
    rows = RunFolder.open(run).read_metrics()
    return [(row["step"], row["loss"], row["learning_rate"]) for row in rows if "loss" in row]


TWO_EPOCHS = {"max_steps": -1, "num_train_epochs": 2, "gradient_accumulation_steps": 1}
ROWS = toy_rows(18)


@pytest.fixture(scope="module")
def whole(learner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs that nothing interrupts."""
    run = tmp_path_factory.mktemp("whole") / "run"
    settings = toy_settings(**TWO_EPOCHS)
    toy_trainer(toy_loaded(learner), run, rows=ROWS, settings=settings).train()
    return run


@pytest.mark.parametrize("stop_at", [3, 5, 7])
def test_interrupted_and_resumed_equals_uninterrupted(
    learner: Path, whole: Path, tmp_path: Path, stop_at: int, signals: None
) -> None:
    settings = toy_settings(**TWO_EPOCHS)
    parts = tmp_path / "parts"
    first = toy_trainer(
        toy_loaded(learner),
        parts,
        rows=ROWS,
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

    second = toy_trainer(toy_loaded(learner), parts, rows=ROWS, settings=settings)
    result = second.train("last")
    assert result.steps == 10
    assert is_same_adapter(whole, parts)
    assert figures(whole) == figures(parts)


def test_a_second_process_goes_on_from_a_killed_one(learner: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    settings = toy_settings(max_steps=7, save_steps=2, save_total_limit=3)
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


def test_a_checkpoint_of_the_last_step_needs_no_more_steps(learner: Path, tmp_path: Path) -> None:
    settings = toy_settings(max_steps=2)
    first = toy_trainer(toy_loaded(learner), tmp_path / "run", settings=settings).train()
    shutil.copytree(tmp_path / "run", tmp_path / "kept")
    shutil.rmtree(tmp_path / "run" / "adapter")
    trainer = toy_trainer(toy_loaded(learner), tmp_path / "run", settings=settings)
    result = trainer.train(tmp_path / "run")
    assert (result.steps, result.train_loss) == (2, first.train_loss)
    assert is_same_adapter(tmp_path / "kept", tmp_path / "run")


@pytest.fixture(scope="module")
def one_step(learner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of one step."""
    run = tmp_path_factory.mktemp("one-step") / "run"
    toy_trainer(toy_loaded(learner), run, settings=toy_settings(max_steps=1)).train()
    return run


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"rows": toy_rows(seed=9)}, "data"),
        ({"format_record": replace(FORMAT, fingerprint="format-b")}, "format"),
        ({"fingerprints": {"config": "c", "tokenizer": "t"}}, "tokenizer"),
    ],
)
def test_another_run_is_refused_by_name(
    learner: Path, one_step: Path, changes: dict[str, object], differs: str
) -> None:
    trainer = toy_trainer(toy_loaded(learner), one_step, **changes)  # type: ignore[arg-type]
    with pytest.raises(ResumeMismatchError, match=f"another {differs} ") as refused:
        trainer.train("last")
    assert refused.value.context["differs"] == [differs]


def test_another_base_is_refused_and_other_settings_are_told(
    learner: Path, one_step: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = shutil.copytree(one_step, tmp_path / "run")
    settings = toy_settings(max_steps=1)
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


def test_a_resumed_epoch_of_one_of_two_processes_has_its_own_order() -> None:
    from accelerate.data_loader import BatchSamplerShard, DataLoaderShard, skip_first_batches
    from torch.utils.data import BatchSampler

    sampler = RowSampler([1] * 16, batch_size=4, seed=1, is_grouped=False)
    part = BatchSamplerShard(BatchSampler(sampler, 4, drop_last=False), 2, process_index=1)
    loader = DataLoaderShard(list(range(16)), batch_sampler=part)  # type: ignore[no-untyped-call]
    pass_epochs_on(loader)
    resumed = skip_first_batches(loader, 1)
    for epoch in (1, 2):
        resumed.set_epoch(epoch)
        expected = shuffled_order(16, seed=1, epoch=epoch)[12:]
        assert [batch.tolist() for batch in resumed] == [list(expected)]
