"""What the presets for GPUs say of their memory, against the formula that a dry run uses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from transformers import Qwen3Config

from fim.config import PRESETS, Settings, load_settings
from fim.model import ModelShape
from fim.planning import Load, MemoryEstimate, Place, estimate_memory

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "plan-and-publish.md"
GPU_PRESETS = [name for name in PRESETS if name != "cpu"]
CARDS_GB = (8, 16, 24, 80)
USABLE_SHARE = 0.93
SHARED = {"num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8}
SHAPES = {
    "unsloth/Qwen3-4B-bnb-4bit": {"hidden_size": 2560, "intermediate_size": 9728},
    "unsloth/Qwen3-8B-bnb-4bit": {"hidden_size": 4096, "intermediate_size": 12_288},
    "unsloth/Qwen3-8B": {"hidden_size": 4096, "intermediate_size": 12_288},
}


def settings_of(preset: str) -> Settings:
    return load_settings(env={}, preset=preset).settings


def estimate(settings: Settings, *, backend: str = "transformers") -> MemoryEstimate:
    """Return the estimate of a batch of rows that fill the budget."""
    name = settings.model.name
    shape = ModelShape.of(
        Qwen3Config(
            vocab_size=151_936,
            head_dim=128,
            tie_word_embeddings="4B" in name,
            **SHARED,
            **SHAPES[name],
        )
    )
    assert shape is not None
    rows, tokens = settings.train.per_device_train_batch_size, settings.model.max_seq_length
    return estimate_memory(
        shape,
        settings.lora,
        Load(rows * tokens, tokens, rows * settings.data.middle_reserve_tokens),
        Place(
            device="cuda",
            dtype=settings.model.dtype or "bfloat16",
            backend=backend,
            is_quantised=settings.model.load_in_4bit,
            is_eager=False,
            optimizer=settings.train.optim,
        ),
    )


@pytest.mark.parametrize("preset", GPU_PRESETS)
def test_a_preset_says_what_the_formula_gives_and_fits_its_card(preset: str) -> None:
    found = estimate(settings_of(preset)).total_mib
    assert PRESETS[preset].memory == f"estimated {found / 1024:.1f} GiB of GPU memory"
    assert found < PRESETS[preset].min_vram_mib
    assert found == estimate(settings_of(preset), backend="unsloth").total_mib


@pytest.mark.parametrize("preset", GPU_PRESETS)
def test_presets_for_gpus_ask_for_what_was_measured_as_best(preset: str) -> None:
    settings, cpu = settings_of(preset), settings_of("cpu")
    assert (settings.data.format, settings.data.anchor_lines) == ("psm", 4)
    assert settings.data.enable_response_masking
    assert settings.data.align_cuts == cpu.data.align_cuts
    assert settings.infer.token_healing == cpu.infer.token_healing


def test_without_a_preset_the_format_is_the_plain_chat() -> None:
    assert load_settings(env={}).settings.data.format == "chatml"


def test_the_documented_table_is_the_formula() -> None:
    rows = {}
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3 + len(CARDS_GB) and cells[0].strip("`") in GPU_PRESETS:
            rows[cells[0].strip("`")] = cells[1:]
    assert list(rows) == GPU_PRESETS
    for name, (model, size, *fits) in rows.items():
        settings = settings_of(name)
        found = estimate(settings).total_mib
        assert model == settings.model.name.removeprefix("unsloth/")
        assert float(re.sub(r"[^\d.]", "", size)) == pytest.approx(found / 1024, abs=0.05)
        assert fits == [
            "yes" if found < USABLE_SHARE * card * 1e9 / 2**20 else "no" for card in CARDS_GB
        ]
