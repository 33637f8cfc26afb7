"""The parts of the memory formula, against counts that are known."""

from __future__ import annotations

from dataclasses import replace

import pytest
from transformers import GPT2Config, Qwen3Config

from fim.config import LoraSettings
from fim.model import ModelShape
from fim.planning import Load, Place, estimate_memory

PLACE = Place(
    device="cuda",
    dtype="bfloat16",
    backend="unsloth",
    is_quantised=True,
    is_eager=False,
    optimizer="adamw_8bit",
)
LOAD = Load(tokens=2048, longest=2048, supervised_tokens=40)
LORA = LoraSettings(r=16)


@pytest.fixture(scope="module")
def qwen3() -> ModelShape:
    config = Qwen3Config(
        vocab_size=151_936,
        hidden_size=4096,
        intermediate_size=12_288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        tie_word_embeddings=False,
    )
    shape = ModelShape.of(config)
    assert shape is not None
    return shape


def test_parameters_of_qwen3_8b(qwen3: ModelShape) -> None:
    assert qwen3.num_projection_parameters + qwen3.num_other_parameters == pytest.approx(
        8.19e9, rel=0.002
    )
    assert qwen3.num_adapter_parameters(LORA.target_modules, rank=16) == 43_646_976


def test_four_bits_hold_a_third_of_the_weights(qwen3: ModelShape) -> None:
    small = estimate_memory(qwen3, LORA, LOAD, PLACE)
    large = estimate_memory(qwen3, LORA, LOAD, replace(PLACE, is_quantised=False))
    assert large.weights_mib == pytest.approx(15_623, rel=0.01)
    assert small.weights_mib < 0.4 * large.weights_mib
    ours = estimate_memory(qwen3, LORA, LOAD, replace(PLACE, backend="transformers"))
    assert ours == small


def test_checkpointing_keeps_one_layer(qwen3: ModelShape) -> None:
    kept = estimate_memory(
        qwen3, LORA.model_copy(update={"gradient_checkpointing": False}), LOAD, PLACE
    )
    recomputed = estimate_memory(qwen3, LORA, LOAD, PLACE)
    assert recomputed.activations_mib < 0.25 * kept.activations_mib


def test_each_part_grows_with_what_it_is_made_of(qwen3: ModelShape) -> None:
    first = estimate_memory(qwen3, LORA, LOAD, PLACE)
    longer = estimate_memory(qwen3, LORA, replace(LOAD, tokens=4096), PLACE)
    assert longer.activations_mib == pytest.approx(2 * first.activations_mib)
    trained = estimate_memory(qwen3, LORA, replace(LOAD, supervised_tokens=80), PLACE)
    assert trained.logits_mib == pytest.approx(2 * first.logits_mib)
    wide = estimate_memory(qwen3, LORA, replace(LOAD, supervised_tokens=10**6), PLACE)
    assert wide.logits_mib == pytest.approx(first.logits_mib * 2048 / 40)
    states = estimate_memory(qwen3, LORA, LOAD, replace(PLACE, optimizer="adamw_torch"))
    assert states.trained_mib == pytest.approx(1.6 * first.trained_mib)
    eager = estimate_memory(qwen3, LORA, LOAD, replace(PLACE, is_eager=True))
    assert eager.activations_mib > first.activations_mib
    assert first.total_mib == pytest.approx(sum(first.as_json().values()), abs=5)


def test_full_fine_tuning_holds_every_weight_with_its_states(qwen3: ModelShape) -> None:
    whole = replace(PLACE, is_quantised=False, is_full=True, optimizer="adamw_torch")
    found = estimate_memory(qwen3, LORA, LOAD, whole)
    assert found.weights_mib == pytest.approx(15_623, rel=0.01)
    assert found.trained_mib == pytest.approx(8.19e9 * 16 / 2**20, rel=0.01)


def test_an_architecture_that_is_not_understood() -> None:
    assert ModelShape.of(GPT2Config()) is None
