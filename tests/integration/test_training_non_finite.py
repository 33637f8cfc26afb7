"""A loss that is no number: a base that gives it is named, and the hint is a command that works."""

from __future__ import annotations

import math
import shlex
from pathlib import Path

import pytest
import torch

from fim.errors import NonFiniteLossError
from fim.training.sft import RowTrainer
from training_toys import toy_loaded, toy_settings, toy_trainer, write_learner

RESUME = "fim train --resume runs/a"


def damaged(folder: Path, layer: str, value: float) -> Path:
    """Write a base with a value in the place of one of a layer's numbers, or of all of them."""
    from transformers import Qwen3ForCausalLM

    write_learner(folder)
    model = Qwen3ForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        weight = model.get_submodule(layer).weight
        if math.isnan(value):
            weight[3, 3] = value
        else:
            weight.fill_(value)
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("packing", ["none", "bfd", "auto"])
@pytest.mark.parametrize("full", [False, True], ids=["lora", "full"])
def test_a_weight_of_the_base_is_named(tmp_path: Path, packing: str, full: bool) -> None:
    layer = "model.layers.1.mlp.down_proj"
    loaded = toy_loaded(damaged(tmp_path / "base", layer, float("nan")), full_finetuning=full)
    trainer = toy_trainer(
        loaded, tmp_path / "run", settings=toy_settings(packing=packing), resume_command=RESUME
    )
    with pytest.raises(NonFiniteLossError, match=r"step 1 is nan.* the base") as caught:
        trainer.train()
    assert f"the weight {layer}.weight holds 1 values" in caught.value.message
    assert "resume" not in caught.value.hint
    assert caught.value.context["checkpoint"] is None


@pytest.mark.parametrize("packing", ["none", "bfd"])
def test_a_layer_that_overflows_on_the_row_is_named(tmp_path: Path, packing: str) -> None:
    layer = "model.layers.1.mlp.up_proj"
    loaded = toy_loaded(damaged(tmp_path / "base", layer, 1e38))
    trainer = toy_trainer(loaded, tmp_path / "run", settings=toy_settings(packing=packing))
    with pytest.raises(NonFiniteLossError, match=f"its layer {layer} is the first") as caught:
        trainer.train()
    assert "--set model.dtype=float32" in caught.value.hint
    assert not any(module._forward_hooks for module in loaded.model.modules())


@pytest.mark.parametrize("has_checkpoint", [False, True])
def test_a_sound_base_gets_a_lower_rate_and_resume_only_where_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_checkpoint: bool
) -> None:
    plain = RowTrainer.compute_loss

    def poisoned(self: RowTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        loss = plain(self, *args, **kwargs)  # type: ignore[arg-type]
        return loss * float("nan") if self.state.global_step == 2 else loss

    monkeypatch.setattr(RowTrainer, "compute_loss", poisoned)
    settings = toy_settings(save_steps=1 if has_checkpoint else 100, learning_rate=5e-3)
    loaded = toy_loaded(write_learner(tmp_path / "base"))
    trainer = toy_trainer(loaded, tmp_path / "run", settings=settings, resume_command=RESUME)
    with pytest.raises(NonFiniteLossError, match="step 3 is nan; another step") as caught:
        trainer.train()
    rate = ["--set", "train.learning_rate=0.0005"]
    if has_checkpoint:
        assert shlex.split(caught.value.hint) == [*shlex.split(RESUME), *rate]
        assert str(caught.value.context["checkpoint"]).endswith("checkpoint-2")
    else:
        assert " ".join(rate) in caught.value.hint
        assert "resume" not in caught.value.hint
