"""A merge never changes what the model says, whatever the adapter and the base are."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fim.model import LoadedModel, attach_adapter, merge_adapter, save_adapter
from fim.model.merging import shared_layers
from fim.training.held_out import HeldOutLoss
from fim.training.precision import autocast_for
from fim.training.rows import RightPadder
from model_toys import VOCABULARY_TOKENS, toy_loader, write_toy_model
from training_toys import END_ID, toy_loaded, toy_rows, toy_settings, toy_trainer, write_learner

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05}
ADAPTERS: dict[str, dict[str, object]] = {
    "plain": {"target_modules": ["q_proj", "down_proj"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "head": {"target_modules": ["q_proj", "lm_head"]},
    "embedding-and-head": {"target_modules": ["embed_tokens", "lm_head"]},
    "both-tied": {"target_modules": ["q_proj", "embed_tokens"], "ensure_weight_tying": True},
    "saved-head": {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]},
    "saved-embedding": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "dora": {"target_modules": ["q_proj", "up_proj"], "use_dora": True},
    "rslora": {"target_modules": ["v_proj"], "use_rslora": True, "lora_alpha": 64},
    "bias": {"target_modules": ["q_proj"], "bias": "all"},
    "rows": {"target_modules": ["q_proj"], "trainable_token_indices": {"embed_tokens": [5, 9]}},
}


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "untied"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("base"), is_tied=request.param)


def logits(loaded: LoadedModel) -> torch.Tensor:
    ids = torch.randint(2, VOCABULARY_TOKENS, (2, 40), generator=torch.Generator().manual_seed(7))
    ids[:, 0], ids[:, 1] = 5, 9
    loaded.model.eval()
    with torch.no_grad():
        return loaded.model(input_ids=ids).logits.float()


def adapted(folder: Path, dtype: str, **how: object) -> LoadedModel:
    from peft import LoraConfig, get_peft_model

    from fim.model.quiet import quiet_loading

    loaded = toy_loader(folder, dtype=dtype).load()
    with quiet_loading(), torch.random.fork_rng():
        torch.manual_seed(3)
        config = LoraConfig(r=4, task_type="CAUSAL_LM", init_lora_weights=False, **how)  # type: ignore[arg-type]
        model = get_peft_model(loaded.model, config)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if weight.requires_grad and "lora_" not in name:
                    weight.add_(0.1 * torch.randn_like(weight))
    return replace(loaded, model=model)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_logits_before_and_after_a_merge_are_the_same(base: Path, name: str, dtype: str) -> None:
    from peft.tuners.tuners_utils import BaseTunerLayer

    loaded = adapted(base, dtype, **ADAPTERS[name])
    plain = logits(toy_loader(base, dtype=dtype).load())
    before = logits(loaded)
    after = logits(merge_adapter(loaded))
    spread = float(before.std())
    assert float((before - plain).abs().mean()) > 0.01 * spread
    assert float((after - before).abs().mean()) <= TOLERANCE[dtype] * spread
    is_tied = loaded.model.config.tie_word_embeddings
    is_apart = is_tied and name in {"embedding", "head", "embedding-and-head", "both-tied"}
    merged = {each.merged for each in loaded.model.modules() if isinstance(each, BaseTunerLayer)}
    assert merged == {not is_apart}


def test_a_merge_that_says_something_else_is_undone_and_told(
    base: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft.tuners.lora import Linear

    loaded = adapted(base, "float32", target_modules=["q_proj", "down_proj"])
    before = logits(loaded)
    plain = Linear.get_delta_weight
    monkeypatch.setattr(Linear, "get_delta_weight", lambda *given: 1.5 * plain(*given))
    with caplog.at_level(logging.INFO, logger="fim.model"):
        merge_adapter(loaded)
    assert torch.allclose(logits(loaded), before, atol=1e-4)
    assert [line for line in caplog.messages if "kept apart" in line and "differ by" in line]


def test_weights_that_share_are_named_once(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    loaded = adapted(base, "float32", **ADAPTERS["embedding"])
    is_tied = loaded.model.config.tie_word_embeddings
    assert shared_layers(loaded.model) == (["model.embed_tokens"] if is_tied else [])
    with caplog.at_level(logging.INFO, logger="fim.model"):
        merge_adapter(loaded)
    told = [line for line in caplog.messages if "kept apart" in line]
    assert len(told) == is_tied
    assert all("model.embed_tokens" in line for line in told)


def test_a_quantised_base_keeps_its_adapter_apart(base: Path) -> None:
    loader = toy_loader(base, load_in_4bit=True)
    loaded = loader.for_training(loader.load())
    merge_adapter(loaded)
    assert not any(getattr(each, "merged", False) for each in loaded.model.modules())


@pytest.mark.parametrize(
    "lora",
    [
        {"target_modules": ["q_proj", "v_proj", "embed_tokens"]},
        {"target_modules": ["all-linear"], "use_dora": True},
        {"target_modules": ["q_proj", "v_proj"], "use_rslora": True, "bias": "all"},
    ],
    ids=["embedding", "dora", "rslora"],
)
def test_a_loaded_adapter_has_the_held_out_loss_of_its_training(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], lora: dict[str, object]
) -> None:
    folder = write_learner(tmp_path / "base")
    held_out = toy_rows(8, seed=5)
    settings = toy_settings(max_steps=6, learning_rate=0.02)
    trainer = toy_trainer(
        toy_loaded(folder, **lora), tmp_path / "run", eval_rows=held_out, settings=settings
    )
    result = trainer.train()
    capfd.readouterr()
    loader = toy_loader(folder)
    loaded = loader.with_adapter(loader.load(), result.adapter)
    measured = HeldOutLoss(
        model=loaded.model,
        rows=held_out,
        batch_size=4,
        collator=RightPadder(END_ID),
        autocast=autocast_for(loaded),
        has_own_loss=False,
    )()
    assert measured["eval_loss"] == pytest.approx(result.eval_loss, abs=1e-3)
    assert "Warning" not in capfd.readouterr().err


@pytest.mark.slow
def test_the_embedded_model_answers_as_its_adapter_was_trained(tmp_path: Path) -> None:
    from fim.config import load_settings
    from fim.pipeline import make_loader

    settings = load_settings(preset="cpu").settings
    names = ("q_proj", "v_proj", "embed_tokens")
    lora = settings.lora.model_copy(update={"target_modules": names})
    loader = make_loader(settings.model_copy(update={"lora": lora}))
    trained = loader.for_training(loader.load())
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in trained.model.named_parameters():
            if "lora_B" in name or "lora_embedding_B" in name:
                weight.normal_(0, 0.02, generator=generator)
    before = logits(trained)
    folder = save_adapter(trained, tmp_path / "adapter")
    apart = attach_adapter(loader.load(), folder)
    assert torch.allclose(logits(apart), before, atol=0.1)
    after = logits(loader.with_adapter(loader.load(), folder))
    assert float((after - before).abs().mean()) <= 0.05 * float(before.std())
