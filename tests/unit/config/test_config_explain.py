"""Explanations, field facts, presets and switches."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim.config import (
    PRESETS,
    Settings,
    c_compiler,
    cache_folder,
    explain_setting,
    hub_token_place,
    known_settings,
    load_settings,
    preset_for,
    read_switches,
)
from fim.config.fields import as_text
from fim.errors import UnknownSettingError


@pytest.mark.parametrize(
    "name",
    ["train.learning_rate", "FIM_TRAIN_LEARNING_RATE", "fim_train_learning_rate", "learning_rate"],
)
def test_golden_explanation(tmp_path: Path, name: str) -> None:
    resolved = load_settings(
        preset="cpu", overrides={"train.learning_rate": "1e-3"}, env={}, cwd=tmp_path
    )
    assert explain_setting(name, resolved).as_json() == {
        "key": "train.learning_rate",
        "value": 1e-3,
        "source": "command line",
        "description": "Highest learning rate.",
        "unit": "per step",
        "accepts": "a number above 0 and at most 1",
        "default": 1e-5,
        "env": "FIM_TRAIN_LEARNING_RATE",
        "overrode": [
            {"value": PRESETS["cpu"].values["train.learning_rate"], "source": "preset cpu"},
            {"value": 1e-5, "source": "default"},
        ],
    }


def test_explanation_of_a_default(tmp_path: Path) -> None:
    explanation = explain_setting("lora.bias", load_settings(env={}, cwd=tmp_path))
    assert explanation.source == "default"
    assert explanation.overrode == ()
    assert explanation.accepts == "one of none, all, lora_only"


@pytest.mark.parametrize("name", ["preset", "FIM_PRESET"])
def test_explanation_of_the_preset(tmp_path: Path, name: str) -> None:
    explanation = explain_setting(name, load_settings(preset="t4", env={}, cwd=tmp_path))
    assert explanation.value == "t4"
    assert all(preset.summary in explanation.description for preset in PRESETS.values())


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("train.lerning_rate", "did you mean train.learning_rate?"),
        ("FIM_TRAIN_LERNING_RATE", "did you mean FIM_TRAIN_LEARNING_RATE?"),
        (
            "seed",
            "say which: data.seed, train.seed, eval.seed, corpus.seed",
        ),
    ],
)
def test_names_that_explain_nothing(tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(UnknownSettingError) as caught:
        explain_setting(name, load_settings(env={}, cwd=tmp_path))
    assert caught.value.message == f"{name} is not a setting, so there is nothing to explain"
    assert caught.value.hint == hint


def test_every_setting_has_a_sentence_and_an_example() -> None:
    for facts in known_settings().values():
        assert facts.description.endswith("."), facts.key
        assert facts.accepts, facts.key
        assert facts.example or facts.default == (), facts.key
        assert facts.example != "none" or facts.accepts.startswith("one of none"), facts.key


def test_counted_and_measured_settings_have_a_unit() -> None:
    endings = ("_tokens", "_chars", "_bytes", "_steps", "_minutes", "_fraction", "_share", "_lines")
    for facts in known_settings().values():
        if facts.key.endswith(endings) and not isinstance(facts.default, bool):
            assert facts.unit, facts.key


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "none"), (True, "true"), (("a", "b"), "a,b"), (1e-5, "1e-05"), (Path("a"), "a")],
)
def test_text_of_values(value: object, text: str) -> None:
    assert as_text(value) == text


def test_presets_say_what_is_estimated() -> None:
    for name in ("8gb", "t4", "24gb", "80gb"):
        assert "estimated" in PRESETS[name].memory
        assert "estimated" in PRESETS[name].speed


def test_presets_change_something_and_never_a_seed() -> None:
    defaults = load_settings(env={}, cwd=Path("/nonexistent")).settings
    for name in PRESETS:
        settings = load_settings(preset=name, env={}, cwd=Path("/nonexistent")).settings
        assert settings != defaults
        assert settings.train.seed == Settings().train.seed


@pytest.mark.parametrize(
    ("vram_mib", "has_bfloat16", "name"),
    [
        (0, True, "cpu"),
        (7_000, True, "cpu"),
        (8_000, True, "8gb"),
        (15_000, False, "t4"),
        (24_000, True, "24gb"),
        (32_000, False, "t4"),
        (81_000, True, "80gb"),
    ],
)
def test_the_largest_preset_that_fits(vram_mib: int, has_bfloat16: bool, name: str) -> None:
    assert preset_for(vram_mib, has_bfloat16=has_bfloat16).name == name


def test_switches_come_from_the_environment_then_the_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FIM_DEBUG=1\nFIM_NO_PROGRESS=yes\n", encoding="utf-8")
    switches = read_switches({"FIM_DEBUG": "off", "FIM_CACHE_DIR": "~/c"}, tmp_path)
    assert (switches.debug, switches.no_progress) == (False, True)
    assert switches.cache_dir == Path("~/c").expanduser()


def test_switches_of_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIM_CACHE_DIR", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FIM_CACHE_DIR")
    assert cache_folder().name == "fim"


def test_a_broken_env_file_does_not_stop_the_switches(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff")
    assert read_switches({}, tmp_path).debug is False


def test_places_of_a_hub_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("hf_x", encoding="utf-8")
    assert hub_token_place({"HF_TOKEN": "x"}) == "HF_TOKEN"
    assert hub_token_place({"HF_HOME": str(tmp_path)}) == str(tmp_path / "token")
    assert hub_token_place({"HF_TOKEN_PATH": str(tmp_path / "token")}) == str(tmp_path / "token")
    assert hub_token_place({"XDG_CACHE_HOME": str(tmp_path)}) is None
    monkeypatch.setenv("HF_TOKEN", "x")
    assert hub_token_place() == "HF_TOKEN"


def test_a_c_compiler_is_the_named_one_or_a_usual_one(tmp_path: Path) -> None:
    path = {"PATH": str(tmp_path)}
    assert c_compiler(path) is None
    for name in ("gcc", "mine"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    assert c_compiler(path) == str(tmp_path / "gcc")
    assert c_compiler({**path, "CC": "mine"}) == str(tmp_path / "mine")
    assert c_compiler({**path, "CC": "no-such-compiler"}) == str(tmp_path / "gcc")
