"""Every name of lora.target_modules is looked for among the layers of a model without weights."""

from __future__ import annotations

import pytest
from transformers import (
    GPT2Config,
    GPTBigCodeConfig,
    LlamaConfig,
    PretrainedConfig,
    Qwen3Config,
    Starcoder2Config,
)

from fim.config import LoraSettings
from fim.errors import ConfigError, ModelError
from fim.model.shape import ModelShape
from fim.model.targets import Targets, find_targets, skeleton

SIZES = {
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
GPT_SIZES = {"vocab_size": 64, "n_embd": 16, "n_layer": 3, "n_head": 2}
LLAMA = LlamaConfig(**SIZES)
STARCODER2 = Starcoder2Config(**SIZES)
GPT2, BIGCODE = GPT2Config(**GPT_SIZES), GPTBigCodeConfig(**GPT_SIZES)
SEVEN = LoraSettings().target_modules


def found(config: PretrainedConfig, *names: str) -> Targets:
    model = skeleton(config)
    assert model is not None
    assert {each.device.type for each in model.parameters()} == {"meta"}
    lora = LoraSettings(target_modules=names) if names else LoraSettings()
    return find_targets(model, lora)


def test_every_name_is_counted() -> None:
    targets = found(LLAMA, "q_proj", "layers.1.mlp.down_proj", "embed_tokens")
    assert targets.counts == {"q_proj": 2, "layers.1.mlp.down_proj": 1, "embed_tokens": 1}
    assert targets.names == ("q_proj", "layers.1.mlp.down_proj", "embed_tokens")
    assert targets.others == ("k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert targets.summary == "q_proj 2, layers.1.mlp.down_proj 1, embed_tokens 1"


@pytest.mark.parametrize("config", [LLAMA, Qwen3Config(**SIZES)], ids=["llama", "qwen3"])
def test_the_defaults_match_whole(config: PretrainedConfig) -> None:
    targets = found(config)
    assert targets.names == SEVEN
    assert not targets.unmatched
    assert not targets.others


@pytest.mark.parametrize(
    ("config", "own"),
    [
        (LLAMA, SEVEN),
        (STARCODER2, ("q_proj", "k_proj", "v_proj", "o_proj", "c_fc", "c_proj")),
        (GPT2, ("c_attn", "c_proj", "c_fc")),
        (BIGCODE, ("c_attn", "c_proj", "c_fc")),
    ],
    ids=["llama", "starcoder2", "gpt2", "bigcode"],
)
def test_all_linear_alone_or_in_a_list(config: PretrainedConfig, own: tuple[str, ...]) -> None:
    alone = found(config, "all-linear")
    assert set(alone.names) == set(own)
    assert alone.counts["all-linear"] > len(own)
    embedding = "wte" if config in (GPT2, BIGCODE) else "embed_tokens"
    listed = found(config, own[0], "All-Linear", embedding)
    assert set(listed.names) == {*own, embedding}


def test_defaults_that_match_nothing_are_told_in_one_line() -> None:
    targets = found(STARCODER2)
    assert targets.unmatched == ("gate_proj", "up_proj", "down_proj")
    assert targets.names == ("q_proj", "k_proj", "v_proj", "o_proj")
    assert "gate_proj, up_proj, down_proj of the defaults match no layer" in targets.summary
    assert "c_fc, c_proj" in targets.summary
    assert "\n" not in targets.summary


@pytest.mark.parametrize("config", [GPT2, BIGCODE], ids=["gpt2", "bigcode"])
def test_no_default_matches_and_the_own_layers_are_listed(config: PretrainedConfig) -> None:
    with pytest.raises(ModelError, match="c_attn, c_proj, c_fc") as caught:
        found(config)
    assert "all-linear" in caught.value.hint
    assert caught.value.context["linear_layers"] == ["c_attn", "c_proj", "c_fc"]


@pytest.mark.parametrize(
    "names", [("q_proj", "w_no"), ("w_no",), ("all-linear", "w_no"), ("proj",)]
)
def test_a_name_of_the_user_that_matches_nothing_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="q_proj, k_proj, v_proj") as caught:
        found(LLAMA, *names)
    assert names[-1] in caught.value.message


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (LLAMA, ("q_proj", "lm_head")),
        (LLAMA, ("lm_head",)),
        (GPT2, ("c_attn", "lm_head")),
    ],
)
def test_the_head_is_refused_by_name(config: PretrainedConfig, names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=f"names {names[-1]}, the head") as caught:
        found(config, *names)
    assert f"--set lora.target_modules={','.join(names[:-1]) or 'all-linear'}" in caught.value.hint


@pytest.mark.parametrize("name", ["mlp", "self_attn", "norm", "layers", "model"])
def test_a_part_that_is_no_layer_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"names {name}, which is"):
        found(LLAMA, "q_proj", name)


def test_a_configuration_that_is_not_enough_gives_no_skeleton() -> None:
    assert skeleton(PretrainedConfig()) is None


def test_a_plan_counts_all_linear_as_the_projections() -> None:
    shape = ModelShape.of(LLAMA)
    assert shape is not None
    assert shape.num_adapter_parameters(["all-linear"], rank=4) == shape.num_adapter_parameters(
        SEVEN, rank=4
    )
