"""Merging of the sources: precedence, provenance, decoding, and every refusal at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fim.config import (
    EMBEDDED_MODEL_NAME,
    PRESETS,
    ResolvedSettings,
    Settings,
    check_settings,
    known_settings,
    load_settings,
    setting_values,
    settings_record,
)
from fim.errors import (
    ConfigError,
    ConflictingSettingsError,
    InvalidSettingError,
    UnknownSettingError,
)

NOTHING: Mapping[str, str] = {}


def load(folder: Path, **given: object) -> ResolvedSettings:
    arguments: dict[str, object] = {"env": NOTHING, "cwd": folder, **given}
    return load_settings(**arguments)  # type: ignore[arg-type]


def refusal(folder: Path, **given: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, **given)
    return caught.value


def test_without_sources_everything_is_default(tmp_path: Path) -> None:
    resolved = load(tmp_path)
    assert resolved.settings == Settings()
    assert set(resolved.sources.values()) == {"default"}
    assert set(resolved.sources) == {*known_settings(), "preset"}
    assert resolved.overridden == {}


def test_promised_defaults() -> None:
    settings = Settings()
    assert settings.model.name == "unsloth/Qwen3-8B-bnb-4bit"
    assert settings.data.dataset_name == "sourcegraph/context-aware-fim-code-completions"
    assert settings.data.enable_response_masking is False
    assert settings.train.learning_rate == 1e-5
    assert settings.train.per_device_train_batch_size == 1
    assert settings.train.gradient_accumulation_steps == 4
    assert settings.train.warmup_ratio == 0.1
    assert settings.train.max_grad_norm == 0.5
    assert settings.train.optim == "adamw_8bit"
    assert len(settings.lora.target_modules) == 7


def test_settings_alone_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FIM_TRAIN_SEED", "1")
    assert Settings().train.seed == 3407


def test_process_environment_and_folder_are_the_default_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIM_TRAIN_SEED", "1")
    (tmp_path / ".env").write_text("FIM_DATA_SEED=2\n", encoding="utf-8")
    resolved = load_settings()
    assert (resolved.settings.train.seed, resolved.settings.data.seed) == (1, 2)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().train.seed = 1
    with pytest.raises(ValidationError):
        Settings().preset = "cpu"


SOURCES = ("command line", "environment FIM_TRAIN_SEED", ".env", "fim.toml")


@hypothesis_settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(present=st.sets(st.sampled_from(SOURCES)))
def test_the_strongest_source_wins_and_the_rest_is_remembered(
    tmp_path: Path, present: set[str]
) -> None:
    values = {source: index + 1 for index, source in enumerate(SOURCES)}
    line = {source: f"{values[source]}" if source in present else "" for source in SOURCES}
    (tmp_path / ".env").write_text(f"FIM_TRAIN_SEED={line['.env']}\n", encoding="utf-8")
    toml = f"[train]\nseed = {line['fim.toml']}\n" if line["fim.toml"] else ""
    (tmp_path / "fim.toml").write_text(toml, encoding="utf-8")
    overrides = {"train.seed": values["command line"]} if "command line" in present else {}
    env = {"FIM_TRAIN_SEED": line["environment FIM_TRAIN_SEED"]}
    resolved = load(tmp_path, overrides=overrides, env=env)
    ranked = [source for source in SOURCES if source in present]
    assert resolved.sources["train.seed"] == (ranked[0] if ranked else "default")
    assert resolved.settings.train.seed == (values[ranked[0]] if ranked else 3407)
    lost = [item.source for item in resolved.overridden.get("train.seed", ())]
    assert lost == ([*ranked[1:], "default"] if ranked else [])


def test_a_preset_stands_between_the_file_and_the_default(tmp_path: Path) -> None:
    (tmp_path / "fim.toml").write_text('preset = "cpu"\n[lora]\nr = 8\n', encoding="utf-8")
    resolved = load(tmp_path)
    assert resolved.settings.lora.r == 8
    assert resolved.sources["lora.r"] == "fim.toml"
    assert resolved.settings.model.name == EMBEDDED_MODEL_NAME
    assert resolved.sources["model.name"] == "preset cpu"
    assert resolved.sources["preset"] == "fim.toml"
    assert resolved.sources["train.seed"] == "default"


@pytest.mark.parametrize(
    ("given", "env", "dotenv", "expected", "source"),
    [
        ("cpu", "t4", "8gb", "cpu", "command line"),
        (None, "t4", "8gb", "t4", "environment FIM_PRESET"),
        (None, "", "8gb", "8gb", ".env"),
        (None, "", "", "24gb", "fim.toml"),
        ("none", "t4", "8gb", None, "command line"),
    ],
)
def test_the_strongest_source_picks_the_preset(
    tmp_path: Path, given: str | None, env: str, dotenv: str, expected: str | None, source: str
) -> None:
    (tmp_path / "fim.toml").write_text('preset = "24gb"\n', encoding="utf-8")
    (tmp_path / ".env").write_text(f"FIM_PRESET={dotenv}\n", encoding="utf-8")
    resolved = load(tmp_path, preset=given, env={"FIM_PRESET": env})
    assert resolved.settings.preset == expected
    assert resolved.sources["preset"] == source


def test_an_override_may_name_the_preset(tmp_path: Path) -> None:
    assert load(tmp_path, overrides={"preset": "cpu"}).settings.preset == "cpu"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_loads(tmp_path: Path, name: str) -> None:
    resolved = load(tmp_path, preset=name)
    for key in PRESETS[name].values:
        assert resolved.sources[key] == f"preset {name}"


@pytest.mark.parametrize("text", ["q_proj,v_proj", " q_proj , v_proj ,", '["q_proj", "v_proj"]'])
def test_lists_are_comma_separated_or_json(tmp_path: Path, text: str) -> None:
    expected = ("q_proj", "v_proj")
    from_env = load(tmp_path, env={"FIM_LORA_TARGET_MODULES": text})
    from_command_line = load(tmp_path, overrides={"lora.target_modules": text})
    assert from_env.settings.lora.target_modules == expected
    assert from_command_line.settings.lora.target_modules == expected


def test_empty_variables_are_ignored(tmp_path: Path) -> None:
    resolved = load(tmp_path, env={"FIM_MODEL_DTYPE": "", "FIM_TRAIN_SEED": "  "})
    assert resolved.settings == Settings()


@pytest.mark.parametrize("text", ["none", "None", "auto", " AUTO "])
def test_dtype_is_unset_by_a_word(tmp_path: Path, text: str) -> None:
    resolved = load(tmp_path, preset="t4", env={"FIM_MODEL_DTYPE": text})
    assert resolved.settings.model.dtype is None


def test_none_unsets_only_optional_values(tmp_path: Path) -> None:
    env = {"FIM_LORA_BIAS": "none", "FIM_TRAIN_MAX_MINUTES": "none"}
    resolved = load(tmp_path, preset="cpu", env=env)
    assert resolved.settings.lora.bias == "none"
    assert resolved.settings.train.max_minutes is None


def test_options_that_were_not_given_change_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, overrides={"data.path": None}).settings == Settings()


def test_log_level_in_any_case(tmp_path: Path) -> None:
    assert load(tmp_path, env={"FIM_LOG_LEVEL": "debug"}).settings.log.level == "DEBUG"


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FIM_HF_TOKEN=hf_weaker\n", encoding="utf-8")
    resolved = load(tmp_path, env={"FIM_HF_TOKEN": "hf_secret"})
    token = resolved.settings.hf.token
    assert token is not None
    assert token.get_secret_value() == "hf_secret"
    shown = json.dumps(resolved.as_json()) + repr(resolved) + str(resolved.overridden)
    assert "hf_secret" not in shown
    assert "hf_weaker" not in shown
    assert settings_record(resolved.settings)["hf"]["token"] is None  # type: ignore[index]


def test_record_can_be_read_back(tmp_path: Path) -> None:
    settings = load(tmp_path, preset="cpu", env={"FIM_DATA_PATH": "a.jsonl"}).settings
    record = json.loads(json.dumps(settings_record(settings)))
    assert Settings.model_validate(record) == settings


def test_answer_of_config_show(tmp_path: Path) -> None:
    answer = load(tmp_path, preset="cpu").as_json()
    assert answer["preset"] == {"value": "cpu", "source": "command line"}
    sections = answer["settings"]
    assert isinstance(sections, dict)
    assert sections["lora"]["r"] == {"value": 16, "source": "preset cpu"}
    assert sections["data"]["path"] == {"value": None, "source": "default"}
    assert sections["train"]["output_dir"] == {"value": "runs", "source": "default"}
    assert sum(len(fields) for fields in sections.values()) == len(known_settings())


def test_values_follow_the_documented_order() -> None:
    assert [key for key, _ in setting_values(Settings())] == list(known_settings())


def test_golden_unknown_variable(tmp_path: Path) -> None:
    error = refusal(tmp_path, env={"FIM_TRIAN_LEARNING_RATE": "1e-4"})
    assert type(error) is UnknownSettingError
    assert error.message == (
        "FIM_TRIAN_LEARNING_RATE (environment) is not a setting, so its value would be ignored"
    )
    assert error.hint == "did you mean FIM_TRAIN_LEARNING_RATE?"
    assert error.exit_code == 2
    assert error.context == {
        "problems": [
            {"key": "FIM_TRIAN_LEARNING_RATE", "message": error.message, "hint": error.hint}
        ]
    }


def test_golden_value_out_of_range(tmp_path: Path) -> None:
    error = refusal(tmp_path, env={"FIM_TRAIN_LEARNING_RATE": "-1"})
    assert type(error) is InvalidSettingError
    assert error.message == (
        "train.learning_rate is '-1' (environment FIM_TRAIN_LEARNING_RATE), "
        "but it must be a number above 0 and at most 1 (per step)"
    )
    assert error.hint == "for example 1e-05; `fim config explain train.learning_rate` tells more"


def test_golden_conflict(tmp_path: Path) -> None:
    error = refusal(tmp_path, overrides={"data.middle_reserve_tokens": 4096})
    assert type(error) is ConflictingSettingsError
    assert error.message == (
        "data.middle_reserve_tokens is 4096 and model.max_seq_length is 2048: "
        "the reserve leaves no token for the prompt"
    )
    assert error.hint == (
        "set data.middle_reserve_tokens to a quarter of model.max_seq_length or less"
    )


def test_golden_all_problems_at_once(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HF_TOKEN=x\nFIM_LORA_RANK=4\n", encoding="utf-8")
    (tmp_path / "fim.toml").write_text("[train]\nlearning_rat = 1\n", encoding="utf-8")
    error = refusal(
        tmp_path,
        preset="cpuu",
        env={"FIM_LORA_R": "many"},
        overrides={"infer.max_new_tokens": 9999, "infer.tempereture": 1},
    )
    assert type(error) is InvalidSettingError
    assert error.message == "\n".join(
        [
            "6 problems in the configuration, so nothing was started:",
            "  - infer.tempereture (command line) is not a setting, so its value would be ignored",
            "    did you mean infer.temperature?",
            "  - FIM_LORA_RANK (.env) is not a setting, so its value would be ignored",
            "    did you mean FIM_LORA_R?",
            "  - train.learning_rat (fim.toml) is not a setting, so its value would be ignored",
            "    did you mean train.learning_rate?",
            "  - preset is 'cpuu' (command line), but it must be one of cpu, 8gb, t4, 24gb, 80gb",
            "    did you mean cpu?",
            "  - lora.r is 'many' (environment FIM_LORA_R), "
            "but it must be a whole number of at least 1 and at most 1,024",
            "    for example 16; `fim config explain lora.r` tells more",
            "  - infer.max_new_tokens is 9999 and model.max_seq_length is 2048: "
            "the completion leaves no token for the prompt",
            "    lower infer.max_new_tokens or raise model.max_seq_length",
        ]
    )
    assert error.hint == "correct them, then look again with `fim config check`"
    problems = error.context["problems"]
    assert isinstance(problems, list)
    assert len(problems) == 6


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"overrides": {"train.max_steps": 0}}, "train.max_steps"),
        ({"overrides": {"train.max_steps": -2}}, "train.max_steps"),
        ({"overrides": {"train.learning_rate": float("nan")}}, "train.learning_rate"),
        ({"overrides": {"train.output_dir": 7}}, "train.output_dir"),
        ({"env": {"FIM_MODEL_DTYPE": "float8"}}, "FIM_MODEL_DTYPE"),
        ({"env": {"FIM_MODEL_LOAD_IN_4BIT": "perhaps"}}, "FIM_MODEL_LOAD_IN_4BIT"),
        ({"env": {"FIM_LORA_TARGET_MODULES": "[q_proj"}}, "FIM_LORA_TARGET_MODULES"),
        ({"env": {"FIM_LORA_TARGET_MODULES": ","}}, "FIM_LORA_TARGET_MODULES"),
        ({"env": {"FIM_LORA_TARGET_MODULES": "[1, 2]"}}, "FIM_LORA_TARGET_MODULES"),
        ({"env": {"FIM_LOG_LEVEL": "LOUD"}}, "FIM_LOG_LEVEL"),
        ({"overrides": {"log.level": 5}}, "log.level"),
        ({"env": {"FIM_TRAIN_OPTIM": "adamw8bit"}}, "FIM_TRAIN_OPTIM"),
        ({"env": {"FIM_TRAIN_SEED": "1.5"}}, "FIM_TRAIN_SEED"),
    ],
)
def test_unusable_values_are_refused(tmp_path: Path, given: dict[str, object], key: str) -> None:
    error = refusal(tmp_path, **given)
    assert type(error) is InvalidSettingError
    problems = error.context["problems"]
    assert isinstance(problems, list)
    assert [problem["key"] for problem in problems] == [key]


def test_a_refused_secret_is_masked(tmp_path: Path) -> None:
    error = refusal(tmp_path, overrides={"hf.token": 12345})
    assert "12345" not in error.message
    assert "hf.token is **********" in error.message


@pytest.mark.parametrize(
    ("overrides", "key"),
    [
        ({"eval.max_new_tokens": 2048}, "eval.max_new_tokens"),
        (
            {"model.name": EMBEDDED_MODEL_NAME, "model.load_in_4bit": True},
            "model.load_in_4bit",
        ),
        (
            {
                "model.name": EMBEDDED_MODEL_NAME,
                "model.load_in_4bit": False,
                "model.backend": "unsloth",
            },
            "model.backend",
        ),
    ],
)
def test_conflicts(tmp_path: Path, overrides: dict[str, object], key: str) -> None:
    error = refusal(tmp_path, overrides=overrides)
    assert type(error) is ConflictingSettingsError
    problems = error.context["problems"]
    assert isinstance(problems, list)
    assert [problem["key"] for problem in problems] == [key]


def test_a_rule_over_a_refused_value_is_not_judged(tmp_path: Path) -> None:
    overrides = {"model.max_seq_length": 1, "infer.max_new_tokens": 4096}
    problems = check_settings(overrides=overrides, env=NOTHING, cwd=tmp_path)
    assert [problem.key for problem in problems] == ["model.max_seq_length"]


def test_check_finds_nothing_wrong_with_defaults(tmp_path: Path) -> None:
    assert check_settings(env=NOTHING, cwd=tmp_path) == ()
