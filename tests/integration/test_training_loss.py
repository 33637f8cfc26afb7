from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from fim.model.quiet import quiet_loading
from fim.training import loss as loss_module
from fim.training.loss import (
    base_model,
    framework_batch_nll,
    has_plain_head,
    head_batch_nll,
    mean_nll,
    supervised_forward,
)
from fim.training.rows import RightPadder
from fim.types import EncodedExample
from training_toys import toy_loaded, toy_rows, toy_settings, toy_trainer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def batch_of(rows: Sequence[EncodedExample]) -> dict[str, torch.Tensor]:
    return RightPadder(pad_id=0)(
        [{"input_ids": row.input_ids, "labels": row.labels} for row in rows]
    )


def random_model(family: str) -> PreTrainedModel:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    shape = {
        "vocab_size": 512,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if family == "llama":
            return LlamaForCausalLM(LlamaConfig(**shape))
        return Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=16))


def wrapped(model: PreTrainedModel) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(target_modules=["q_proj", "down_proj"], init_lora_weights=False, r=4)
    with quiet_loading():
        return cast("PreTrainedModel", get_peft_model(model, config))


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    found = {
        name: each.grad.clone()
        for name, each in model.named_parameters()
        if each.requires_grad and each.grad is not None
    }
    model.zero_grad()
    return found


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    import torch

    assert first.keys() == second.keys()
    assert first
    for name, grad in first.items():
        torch.testing.assert_close(grad, second[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", ["qwen3", "llama"])
@pytest.mark.parametrize("has_adapter", [False, True], ids=["plain", "lora"])
@pytest.mark.parametrize("chunk_tokens", [2048, 3], ids=["at once", "in chunks"])
def test_the_head_at_supervised_positions_gives_the_full_loss(
    family: str, has_adapter: bool, chunk_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "HEAD_CHUNK_TOKENS", chunk_tokens)
    model = random_model(family)
    model = wrapped(model) if has_adapter else model
    assert has_plain_head(model)
    batch = batch_of(toy_rows(6))
    full = framework_batch_nll(model, batch)
    full.backward()
    expected = gradients(model)
    with supervised_forward(model):
        compact = head_batch_nll(model, batch)
        compact.backward()
    count = int((batch["labels"][:, 1:] != -100).sum())
    assert float(compact.detach()) / count == pytest.approx(float(full.detach()) / count, abs=1e-5)
    assert_same(gradients(model), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_same_holds_on_a_4_bit_base(learner: Path, dtype: str) -> None:
    model = toy_loaded(learner, load_in_4bit=True, dtype=dtype).model
    batch = batch_of(toy_rows(6))
    count = int((batch["labels"][:, 1:] != -100).sum())
    full = float(framework_batch_nll(model, batch).detach()) / count
    with supervised_forward(model):
        compact = float(head_batch_nll(model, batch).detach()) / count
    assert compact == pytest.approx(full, abs=1e-5 if dtype == "float32" else 3e-2)


def test_padding_and_its_id_do_not_matter(learner: Path) -> None:
    model = toy_loaded(learner).model
    rows = toy_rows(5)
    with supervised_forward(model):
        alone = sum(float(head_batch_nll(model, batch_of([row])).detach()) for row in rows)
        together = float(head_batch_nll(model, batch_of(rows)).detach())
    assert together == pytest.approx(alone, rel=1e-5)


def test_without_labels_the_forward_is_the_original_one(learner: Path) -> None:
    import torch

    model = toy_loaded(learner).model.eval()
    ids = torch.arange(2, 12)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits
        with supervised_forward(model):
            assert torch.equal(model(input_ids=ids).logits, before)
    assert "forward" not in vars(base_model(model))


def test_the_mean_is_over_tokens_and_keeps_the_mode(learner: Path) -> None:
    model = toy_loaded(learner).model
    rows = toy_rows(6)
    model.train()
    with supervised_forward(model):
        together = mean_nll(model, [batch_of(rows)], head_batch_nll)
        apart = mean_nll(model, [batch_of(rows[:1]), batch_of(rows[1:])], head_batch_nll)
    full = mean_nll(model, [batch_of(rows)], framework_batch_nll)
    assert together == pytest.approx(apart, rel=1e-6)
    assert together == pytest.approx(full, rel=1e-5)
    assert model.training


def one_step(learner: Path, run: Path, **batching: int) -> tuple[dict[str, object], object]:
    loaded = toy_loaded(learner)
    settings = toy_settings(max_steps=1, optim="sgd", max_grad_norm=1e6, **batching)
    trainer = toy_trainer(loaded, run, rows=toy_rows(4), settings=settings)
    trainer.train()
    (row,) = [each for each in trainer._run.read_metrics() if "loss" in each]
    weights = {
        name: each.detach().clone()
        for name, each in loaded.model.named_parameters()
        if each.requires_grad
    }
    return row, weights


def test_accumulation_equals_a_large_batch(learner: Path, tmp_path: Path) -> None:
    import torch

    large, large_weights = one_step(
        learner, tmp_path / "a", per_device_train_batch_size=4, gradient_accumulation_steps=1
    )
    small, small_weights = one_step(
        learner, tmp_path / "b", per_device_train_batch_size=1, gradient_accumulation_steps=4
    )
    assert small["loss"] == pytest.approx(large["loss"], rel=1e-5)
    assert small["grad_norm"] == pytest.approx(large["grad_norm"], rel=1e-4)
    torch.testing.assert_close(small_weights, large_weights, rtol=1e-5, atol=1e-7)


def test_other_heads_keep_the_frameworks_loss(learner: Path, tmp_path: Path) -> None:
    losses = []
    for name in ("qwen3", "capped"):
        loaded = toy_loaded(learner)
        loaded.model.config.model_type = name
        trainer = toy_trainer(
            loaded, tmp_path / name, settings=toy_settings(max_steps=2), eval_rows=toy_rows(4)
        )
        result = trainer.train()
        losses.append((result.train_loss, result.eval_loss))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
