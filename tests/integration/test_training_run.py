from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fim.errors import AllTokensMaskedError, EmptyDatasetError
from fim.formats.record import read_record
from fim.runs import RunFolder, RunState
from fim.training import num_planned_steps
from model_toys import toy_loader
from training_toys import (
    FORMAT,
    ProgressRecorder,
    toy_loaded,
    toy_row,
    toy_rows,
    toy_settings,
    toy_trainer,
)


def test_a_run_learns_and_leaves_everything_behind(
    learner: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = toy_rows(8)
    progress = ProgressRecorder()
    settings = toy_settings(max_steps=20, eval_steps=8, learning_rate=2e-2)
    trainer = toy_trainer(
        toy_loaded(learner, r=8),
        tmp_path / "run",
        rows=rows,
        eval_rows=rows,
        settings=settings,
        progress=progress,
    )
    result = trainer.train()
    run = RunFolder.open(tmp_path / "run")
    metrics = run.read_metrics()
    steps = [row for row in metrics if "loss" in row]
    held_out = [(row["step"], row["eval_loss"]) for row in metrics if "eval_loss" in row]

    assert [row["step"] for row in steps] == list(range(1, 21))
    assert steps[-1]["loss"] < 0.6 * steps[0]["loss"]
    assert set(steps[0]) == {
        "step",
        "loss",
        "learning_rate",
        "grad_norm",
        "epoch",
        "tokens_per_second",
        "supervised_tokens_per_second",
        "holes_per_second",
        "memory_mib",
        "seconds",
    }
    assert 0 < steps[0]["learning_rate"] < 2e-2
    assert max(row["learning_rate"] for row in steps) == pytest.approx(2e-2, rel=0.1)
    assert steps[-1]["learning_rate"] > 0
    assert [step for step, _ in held_out] == [8, 16, 20]
    assert held_out[-1][1] == result.eval_loss < held_out[0][1]
    assert result.steps == 20
    assert result.tokens_per_second > result.supervised_tokens_per_second > 0
    assert result.holes_per_second > 0
    assert result.peak_memory_mib > 100
    assert run.status.state is RunState.RUNNING
    assert progress.stages == [("training", 20)]
    assert progress.done == list(range(21))
    assert set(progress.facts[-1]) == {
        "loss",
        "lr",
        "tokens_per_second",
        "supervised_tokens_per_second",
        "holes_per_second",
        "memory_mib",
        "eval_loss",
    }
    assert progress.summaries == ["20 steps"]
    assert capfd.readouterr().out == ""


def test_the_adapter_is_whole_and_gives_the_trained_model_back(
    learner: Path, tmp_path: Path
) -> None:
    import torch

    loaded = toy_loaded(learner)
    result = toy_trainer(loaded, tmp_path / "run").train()
    assert result.adapter == tmp_path / "run" / "adapter"
    assert read_record(result.adapter) == FORMAT
    assert (result.adapter / "tokenizer.json").is_file()
    assert not list(tmp_path.rglob(".draft-*"))
    assert not loaded.model.training

    again = toy_loader(learner)
    restored = again.with_adapter(again.load(), result.adapter)
    ids = torch.arange(2, 20)[None]
    with torch.no_grad():
        expected = loaded.model(input_ids=ids).logits
        found = restored.model(input_ids=ids).logits
        assert torch.allclose(found, expected, atol=1e-5, rtol=0)


def test_training_gives_the_model_back_as_it_was(learner: Path, tmp_path: Path) -> None:
    loaded = toy_loaded(learner)
    base = loaded.model.get_base_model()
    base.config.use_cache = True
    forward = base.forward
    toy_trainer(loaded, tmp_path / "run", settings=toy_settings(max_steps=1)).train()
    assert base.config.use_cache
    assert base.forward == forward
    assert "forward" not in vars(base)
    assert "forward" not in vars(loaded.model)


def test_epochs_are_counted_as_planned(learner: Path, tmp_path: Path) -> None:
    rows = toy_rows(11)
    settings = toy_settings(
        max_steps=-1,
        num_train_epochs=2,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        save_steps=1,
        save_total_limit=2,
    )
    result = toy_trainer(
        toy_loaded(learner), tmp_path / "run", rows=rows, settings=settings
    ).train()
    assert result.steps == num_planned_steps(11, settings) == 4
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["checkpoint-3", "checkpoint-4"]


def test_a_row_without_a_trained_token_refuses_the_start(learner: Path, tmp_path: Path) -> None:
    masked = toy_row([5, 6, 7], [8], name="bad")
    masked = replace(masked, labels=(-100,) * len(masked.labels))
    trainer = toy_trainer(toy_loaded(learner), tmp_path / "run", rows=[*toy_rows(3), masked])
    with pytest.raises(AllTokensMaskedError, match=r"1 of 4 .* row 3, example bad"):
        trainer.train()
    status = RunFolder.open(tmp_path / "run").status
    assert status.state is RunState.FAILED
    assert "no trained token" in status.reason


def test_no_rows_refuse_the_start(learner: Path, tmp_path: Path) -> None:
    with pytest.raises(EmptyDatasetError):
        toy_trainer(toy_loaded(learner), tmp_path / "run", rows=[]).train()


def test_the_held_out_loss_is_over_answers_whatever_is_trained(
    learner: Path, tmp_path: Path
) -> None:
    prompts = [[5, 6, 7, 8], [9, 10, 11]]
    losses = []
    for loss_on in ("middle", "all"):
        rows = [toy_row(prompt, [30, 31], loss_on=loss_on) for prompt in prompts]
        trainer = toy_trainer(
            toy_loaded(learner),
            tmp_path / loss_on,
            eval_rows=rows,
            settings=toy_settings(max_steps=1),
        )
        losses.append(trainer.train().eval_loss)
    assert losses[0] == losses[1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_nf4_trains(learner: Path, tmp_path: Path, dtype: str) -> None:
    import torch

    loaded = toy_loaded(learner, load_in_4bit=True, dtype=dtype, gradient_checkpointing=True)
    settings = toy_settings(max_steps=2)
    result = toy_trainer(loaded, tmp_path / "run", settings=settings, eval_rows=toy_rows(4)).train()
    trained = [each for each in loaded.model.parameters() if each.requires_grad]
    assert {each.dtype for each in trained} == {torch.float32}
    assert any(
        bool(each.any()) for name, each in loaded.model.named_parameters() if "lora_B" in name
    )
    assert result.eval_loss is not None


def test_bfloat16_weights_train_float32_adapters(learner: Path, tmp_path: Path) -> None:
    loaded = toy_loaded(learner, dtype="bfloat16")
    settings = toy_settings(max_steps=20, learning_rate=2e-2)
    toy_trainer(loaded, tmp_path / "run", rows=toy_rows(8), settings=settings).train()
    losses = [row["loss"] for row in RunFolder.open(tmp_path / "run").read_metrics()]
    assert losses[-1] < 0.7 * losses[0]


def test_an_adapter_is_json_that_names_its_base(learner: Path, tmp_path: Path) -> None:
    loaded = toy_loaded(learner)
    result = toy_trainer(loaded, tmp_path / "run", settings=toy_settings(max_steps=1)).train()
    config = json.loads((result.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] == loaded.name
