from __future__ import annotations

import logging
import random
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.errors import ConflictingSettingsError, InterruptedRunError
from fim.runs import RunFolder
from fim.training.checkpoints import CheckpointRecord
from fim.training.generating import ready_to_generate
from fim.training.loss import base_model
from training_toys import (
    Interrupter,
    adapter_weights,
    is_same_adapter,
    toy_loaded,
    toy_rows,
    toy_settings,
    toy_trainer,
)

if TYPE_CHECKING:
    pass


class Scripted:
    """Gives one figure after the other for ``exact_match``, and draws random numbers on the way."""

    def __init__(self, *values: float) -> None:
        self._values = list(values)

    def __call__(self) -> Mapping[str, float]:
        import torch

        torch.rand(3)
        return {"exact_match": self._values.pop(0), "stop_rate": 1.0}


def measured(run: Path) -> list[tuple[object, object]]:
    rows = RunFolder.open(run).read_metrics()
    return [(row["step"], row["exact_match"]) for row in rows if "exact_match" in row]


def test_the_best_checkpoint_outlives_rotation_and_becomes_the_adapter(
    learner: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = toy_settings(
        max_steps=8, eval_steps=2, save_steps=1, save_total_limit=1, best_metric="exact_match"
    )
    loaded = toy_loaded(learner)
    with caplog.at_level(logging.INFO, logger="fim"):
        result = toy_trainer(
            loaded,
            tmp_path / "best",
            settings=settings,
            eval_rows=toy_rows(4),
            measure_holes=Scripted(0.1, 0.5, 0.3, 0.5),
        ).train()
    assert measured(tmp_path / "best") == [(2, 0.1), (4, 0.5), (6, 0.3), (8, 0.5)]
    assert (result.steps, result.kept_step, result.best_metric) == (8, 4, "exact_match")
    assert result.held_out["exact_match"] == 0.5
    assert result.eval_loss == result.held_out["eval_loss"]
    names = {path.name for path in (tmp_path / "best" / "checkpoints").iterdir()}
    assert names == {"checkpoint-4", "checkpoint-8"}
    assert "keeping step 4, the best by exact_match: 0.5" in caplog.text
    kept = adapter_weights(tmp_path / "best" / "checkpoints" / "checkpoint-4")
    final = adapter_weights(tmp_path / "best" / "adapter")
    import torch

    assert all(torch.equal(final[name], kept[name]) for name in final)
    in_memory = {
        name.replace(".default", ""): each
        for name, each in loaded.model.named_parameters()
        if "lora_" in name
    }
    assert all(torch.equal(in_memory[name], final[name]) for name in final)


def test_measuring_changes_no_step(learner: Path, tmp_path: Path) -> None:
    settings = toy_settings(max_steps=6, eval_steps=2)
    dropping = {"dropout": 0.3}
    toy_trainer(toy_loaded(learner, **dropping), tmp_path / "plain", settings=settings).train()
    toy_trainer(
        toy_loaded(learner, **dropping),
        tmp_path / "measured",
        settings=settings,
        eval_rows=toy_rows(4),
        measure_holes=Scripted(0.1, 0.2, 0.3),
    ).train()
    assert is_same_adapter(tmp_path / "plain", tmp_path / "measured")


def test_early_stopping_ends_the_run_once_and_for_all(learner: Path, tmp_path: Path) -> None:
    settings = toy_settings(
        max_steps=20,
        eval_steps=2,
        early_stopping_metric="exact_match",
        early_stopping_patience=2,
    )
    run = tmp_path / "run"
    scripted = Scripted(0.2, 0.4, 0.4, 0.3)
    result = toy_trainer(
        toy_loaded(learner), run, settings=settings, measure_holes=scripted
    ).train()
    assert (result.steps, result.kept_step, result.has_stopped_early) == (8, 8, True)
    again = toy_trainer(
        toy_loaded(learner), run, settings=settings, measure_holes=Scripted(0.3)
    ).train("last")
    assert (again.steps, again.has_stopped_early) == (8, True)


def test_the_best_survives_an_interruption(learner: Path, tmp_path: Path) -> None:
    settings = toy_settings(max_steps=8, eval_steps=2, save_steps=100, best_metric="exact_match")
    run = tmp_path / "run"
    with pytest.raises(InterruptedRunError):
        toy_trainer(
            toy_loaded(learner),
            run,
            settings=settings,
            measure_holes=Scripted(0.6, 0.2),
            progress=Interrupter(5),
        ).train()
    record = CheckpointRecord.read(run / "checkpoints" / "checkpoint-5")
    assert record.selection["kept"]["best"]["step"] == 2  # type: ignore[index]
    result = toy_trainer(
        toy_loaded(learner), run, settings=settings, measure_holes=Scripted(0.5, 0.1)
    ).train("last")
    assert (result.kept_step, result.held_out["exact_match"]) == (2, 0.6)


def test_a_best_whose_checkpoint_is_gone_is_told_and_forgotten(
    learner: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import shutil

    settings = toy_settings(max_steps=4, eval_steps=2, save_steps=3, best_metric="exact_match")
    run = tmp_path / "run"
    toy_trainer(
        toy_loaded(learner), run, settings=settings, measure_holes=Scripted(0.9, 0.1)
    ).train()
    shutil.rmtree(run / "checkpoints" / "checkpoint-2")
    result = toy_trainer(
        toy_loaded(learner), run, settings=settings, measure_holes=Scripted(0.1)
    ).train(run / "checkpoints" / "checkpoint-3")
    assert result.kept_step == 4
    assert "the best checkpoint so far, of step 2, is gone" in caplog.text


def test_a_figure_that_nobody_measures_refuses_the_start(learner: Path, tmp_path: Path) -> None:
    settings = toy_settings(best_metric="stop_rate")
    with pytest.raises(ConflictingSettingsError, match="none is completed during training"):
        toy_trainer(toy_loaded(learner), tmp_path / "run", settings=settings).train()


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_model_comes_back_from_generating_as_it_was(learner: Path, checkpointing: bool) -> None:
    import torch

    loaded = toy_loaded(learner, gradient_checkpointing=checkpointing, dropout=0.1)
    loaded.model.train()
    frozen = next(loaded.model.modules())
    base = base_model(loaded.model)
    odd = base.get_input_embeddings()
    odd.training = False
    base.config._attn_implementation = "eager"
    random.seed(1)
    before = torch.random.get_rng_state()
    with ready_to_generate(loaded, attention="sdpa"):
        assert not any(module.training for module in loaded.model.modules())
        assert base.config._attn_implementation == "sdpa"
        torch.rand(4)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert frozen.training
    assert not odd.training
    assert base.config._attn_implementation == "eager"
    flags = {getattr(each, "gradient_checkpointing", False) for each in base.modules()}
    assert (True in flags) == checkpointing
