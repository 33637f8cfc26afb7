"""Ways to train: rsLoRA, DoRA, every weight, noise, optimizers, checkpointing; each on and off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.errors import InterruptedRunError
from fim.runs import RunFolder
from fim.training.precision import CPU_OPTIMIZER
from model_toys import toy_loader
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
    import torch

    from fim.model import LoadedModel
    from fim.training import TrainingResult


def trained(loaded: LoadedModel, run: Path, **changes: object) -> TrainingResult:
    settings = toy_settings(max_steps=2, **changes)
    return toy_trainer(loaded, run, settings=settings, eval_rows=toy_rows(4)).train()


def first_loss(run: Path) -> float:
    rows = RunFolder.open(run).read_metrics()
    return next(float(str(row["loss"])) for row in rows if "loss" in row)


def logits(loaded: LoadedModel) -> torch.Tensor:
    import torch

    loaded.model.eval()
    with torch.no_grad():
        return loaded.model(input_ids=torch.arange(2, 20)[None]).logits.float()


@pytest.mark.parametrize(
    ("rslora", "scale"), [(True, 16 / 4**0.5), (False, 16 / 4)], ids=["rslora", "lora"]
)
def test_rslora_scales_by_the_root_of_the_rank(
    learner: Path, tmp_path: Path, scale: float, *, rslora: bool
) -> None:
    loaded = toy_loaded(learner, use_rslora=rslora)
    scales = {
        each.scaling["default"]
        for each in loaded.model.modules()
        if isinstance(getattr(each, "scaling", None), dict)
    }
    assert scales == {scale}
    result = trained(loaded, tmp_path / "run")
    loader = toy_loader(learner, use_rslora=rslora)
    restored = loader.with_adapter(loader.load(), result.adapter)
    assert logits(restored).allclose(logits(loaded), atol=1e-5)


@pytest.mark.parametrize("dora", [True, False])
@pytest.mark.parametrize("in_4bit", [True, False])
def test_dora_trains_lengths_and_comes_back(
    learner: Path, tmp_path: Path, *, dora: bool, in_4bit: bool
) -> None:
    import torch

    loaded = toy_loaded(learner, use_dora=dora, load_in_4bit=in_4bit)
    lengths = {
        name: each.detach().clone()
        for name, each in loaded.model.named_parameters()
        if "magnitude" in name
    }
    assert bool(lengths) == dora
    result = trained(loaded, tmp_path / "run")
    after = dict(loaded.model.named_parameters())
    assert all(not torch.equal(after[name], each) for name, each in lengths.items())
    names = adapter_weights(result.adapter).keys()
    assert any("magnitude" in name for name in names) == dora
    loader = toy_loader(learner, load_in_4bit=in_4bit)
    restored = loader.with_adapter(loader.load(), result.adapter)
    assert logits(restored).allclose(logits(loaded), atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_full_fine_tuning_trains_every_weight_and_leaves_a_model(
    learner: Path, tmp_path: Path, dtype: str
) -> None:
    import torch

    loaded = toy_loaded(learner, full_finetuning=True, dtype=dtype)
    before = {name: each.detach().clone() for name, each in loaded.model.named_parameters()}
    assert {each.dtype for each in before.values()} == {torch.float32}
    result = trained(loaded, tmp_path / "run", packing="none")
    assert result.adapter == tmp_path / "run" / "model"
    assert not (tmp_path / "run" / "adapter").exists()
    after = dict(loaded.model.named_parameters())
    changed = [name for name, each in before.items() if not torch.equal(after[name].float(), each)]
    assert len(changed) == len(before)
    assert {"fim_format.json", "fim_adapter.json", "config.json", "tokenizer.json"} <= {
        path.name for path in result.adapter.iterdir()
    }
    again = toy_loader(result.adapter, dtype=dtype).load()
    assert torch.equal(logits(again), logits(loaded))


def test_a_full_run_resumes_bit_for_bit_and_keeps_the_best(learner: Path, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    settings = toy_settings(max_steps=6, eval_steps=2, best_metric="exact_match")
    figures = [0.1, 0.5, 0.2]

    def scripted() -> dict[str, float]:
        return {"exact_match": values.pop(0)}

    values = list(figures)
    whole = toy_trainer(
        toy_loaded(learner, full_finetuning=True),
        tmp_path / "whole",
        settings=settings,
        measure_holes=scripted,
    ).train()
    values = list(figures)
    with pytest.raises(InterruptedRunError):
        toy_trainer(
            toy_loaded(learner, full_finetuning=True),
            tmp_path / "parts",
            settings=settings,
            measure_holes=scripted,
            progress=Interrupter(3),
        ).train()
    parts = toy_trainer(
        toy_loaded(learner, full_finetuning=True),
        tmp_path / "parts",
        settings=settings,
        measure_holes=scripted,
    ).train("last")
    assert whole.kept_step == parts.kept_step == 4
    one = load_file(whole.adapter / "model.safetensors")
    other = load_file(parts.adapter / "model.safetensors")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    best = load_file(tmp_path / "whole" / "checkpoints" / "checkpoint-4" / "model.safetensors")
    assert all(torch.equal(one[name], best[name]) for name in one)


def test_neftune_adds_noise_to_training_alone(learner: Path, tmp_path: Path) -> None:
    import torch

    results, losses, answers = {}, {}, {}
    for name, alpha in (("off", None), ("on", 5.0)):
        loaded = toy_loaded(learner)
        results[name] = trained(
            loaded, tmp_path / name, neftune_noise_alpha=alpha, learning_rate=1e-12
        )
        losses[name] = first_loss(tmp_path / name)
        answers[name] = logits(loaded)
        assert not loaded.model.get_input_embeddings()._forward_hooks
    assert abs(losses["on"] - losses["off"]) > 1e-3
    assert results["on"].eval_loss == pytest.approx(results["off"].eval_loss, abs=1e-6)
    assert torch.allclose(answers["on"], answers["off"], atol=1e-6)


@pytest.fixture(scope="module")
def plainly_optimized(learner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("plain") / "run"
    trained(toy_loaded(learner), run, optim=CPU_OPTIMIZER)
    return run


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw_8bit", "lion_8bit"])
def test_an_8_bit_optimizer_is_replaced_on_the_cpu_and_told(
    learner: Path,
    plainly_optimized: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    optimizer: str,
) -> None:
    trained(toy_loaded(learner), tmp_path / "run", optim=optimizer)
    assert f"train.optim {optimizer} needs a GPU; {CPU_OPTIMIZER} takes its place" in caplog.text
    assert is_same_adapter(tmp_path / "run", plainly_optimized)


@pytest.mark.parametrize("full", [True, False])
def test_checkpointing_recomputes_and_changes_nothing(
    learner: Path, tmp_path: Path, *, full: bool
) -> None:
    losses = []
    for checkpointing in (True, False):
        loaded = toy_loaded(learner, full_finetuning=full, gradient_checkpointing=checkpointing)
        flags = [getattr(each, "gradient_checkpointing", False) for each in loaded.model.modules()]
        assert any(flags) == checkpointing
        result = trained(loaded, tmp_path / f"run-{checkpointing}")
        losses.append((result.train_loss, result.eval_loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
