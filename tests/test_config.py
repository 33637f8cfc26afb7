"""The contract of ``fim.config``: names, environment variables and defaults that stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim.config import Settings, load_settings
from fim.errors import ConfigError

DEFAULTS = {
    "model.name": "unsloth/Qwen3-8B-bnb-4bit",
    "model.load_in_4bit": True,
    "data.dataset_name": "sourcegraph/context-aware-fim-code-completions",
    "data.enable_response_masking": False,
    "data.format": "chatml",
    "train.learning_rate": 1e-5,
    "train.per_device_train_batch_size": 1,
    "train.gradient_accumulation_steps": 4,
    "train.warmup_ratio": 0.1,
    "train.max_grad_norm": 0.5,
    "train.optim": "adamw_8bit",
    "lora.target_modules": (
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ),
    "log.level": "INFO",
}
VARIABLES = {
    "FIM_MODEL_NAME": ("model.name", "org/model", "org/model"),
    "FIM_DATA_DATASET_NAME": ("data.dataset_name", "org/set", "org/set"),
    "FIM_DATA_ENABLE_RESPONSE_MASKING": ("data.enable_response_masking", "true", True),
    "FIM_TRAIN_NUM_TRAIN_EPOCHS": ("train.num_train_epochs", "2", 2),
    "FIM_LORA_R": ("lora.r", "8", 8),
    "FIM_INFER_TEMPERATURE": ("infer.temperature", "0.5", 0.5),
    "FIM_LOG_LEVEL": ("log.level", "DEBUG", "DEBUG"),
}


def value(settings: Settings, key: str) -> object:
    section, _, field = key.partition(".")
    return getattr(getattr(settings, section), field)


@pytest.mark.parametrize("key", DEFAULTS)
def test_defaults(key: str, tmp_path: Path) -> None:
    assert value(load_settings(env={}, cwd=tmp_path).settings, key) == DEFAULTS[key]


@pytest.mark.parametrize("name", VARIABLES)
def test_variables(name: str, tmp_path: Path) -> None:
    key, text, expected = VARIABLES[name]
    settings = load_settings(env={name: text}, cwd=tmp_path).settings
    assert value(settings, key) == expected
    (tmp_path / ".env").write_text(f"{name}={text}\n")
    assert value(load_settings(env={}, cwd=tmp_path).settings, key) == expected


def test_the_environment_stands_above_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FIM_TRAIN_SEED=1\n")
    assert load_settings(env={"FIM_TRAIN_SEED": "2"}, cwd=tmp_path).settings.train.seed == 2


def test_what_cannot_be_used_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="FIM_TRAIN_LERNING_RATE") as caught:
        load_settings(env={"FIM_TRAIN_LERNING_RATE": "1"}, cwd=tmp_path)
    assert "learning_rate" in f"{caught.value.message} {caught.value.hint}".lower()
    with pytest.raises(ConfigError, match=r"-1"):
        load_settings(env={"FIM_TRAIN_LEARNING_RATE": "-1"}, cwd=tmp_path)
