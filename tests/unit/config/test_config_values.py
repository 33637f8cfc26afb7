"""Kinds of values and names: paths, quotes, lists, names in any case, what a named thing brings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fim.config import (
    EMBEDDED_MODEL_NAME,
    PRESETS,
    Settings,
    SourcedValue,
    check_settings,
    explain_setting,
    known_settings,
    load_settings,
    read_switches,
    setting_values,
)
from fim.config.presets import ANCHORED_FORMATS, UNALIGNED_FORMATS
from fim.errors import ConflictingSettingsError, InvalidSettingError, UnknownSettingError
from fim.formats import build_formats, can_anchor, format_names

PATHS = [key for key, facts in known_settings().items() if facts.accepts.startswith("a path")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_there_are_path_settings() -> None:
    assert PATHS == ["data.path", "train.output_dir", "log.file"]


@pytest.mark.parametrize("key", [*PATHS, "model.name"])
@pytest.mark.parametrize("source", ["command line", "environment", ".env", "fim.toml"])
def test_a_tilde_is_the_home_folder_from_every_source(
    home: Path, tmp_path: Path, key: str, source: str
) -> None:
    section, name = key.split(".")
    variable = f"FIM_{section}_{name}".upper()
    env, overrides = {}, {}
    if source == "command line":
        overrides = {key: "~/a b"}
    elif source == "environment":
        env = {variable: "~/a b"}
    elif source == ".env":
        (tmp_path / ".env").write_text(f"{variable}='~/a b'\n", encoding="utf-8")
    else:
        (tmp_path / "fim.toml").write_text(f'[{section}]\n{name} = "~/a b"\n', encoding="utf-8")
    resolved = load_settings(overrides=overrides, env=env, cwd=tmp_path)
    assert str(dict(setting_values(resolved.settings))[key]) == str(home / "a b")


@pytest.mark.parametrize("key", [*PATHS, "model.name"])
def test_a_home_that_is_not_there_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidSettingError, match="~nobody-here/x"):
        load_settings(overrides={key: "~nobody-here/x"}, env={}, cwd=tmp_path)


@pytest.mark.parametrize("key", PATHS)
def test_a_path_of_nothing_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(InvalidSettingError, match=key):
        load_settings(overrides={key: " "}, env={}, cwd=tmp_path)


def test_a_path_given_in_code_expands_too(home: Path) -> None:
    settings = Settings.model_validate({"train": {"output_dir": Path("~/runs")}})
    assert settings.train.output_dir == home / "runs"


@pytest.mark.parametrize("name", ["fim_train_seed", "Fim_Train_Seed", "FIM_TRAIN_seed"])
@pytest.mark.parametrize("source", ["environment", ".env"])
def test_names_count_in_any_case_and_that_is_told(tmp_path: Path, name: str, source: str) -> None:
    env = {name: "7"} if source == "environment" else {}
    if source == ".env":
        (tmp_path / ".env").write_text(f"{name}=7\n", encoding="utf-8")
    resolved = load_settings(env=env, cwd=tmp_path)
    assert resolved.settings.train.seed == 7
    assert resolved.sources["train.seed"].startswith(source)
    assert resolved.notes == (f"{name} ({source}) counts as FIM_TRAIN_SEED",)


def test_an_unknown_name_in_small_letters_is_an_error_and_others_are_left_alone(
    tmp_path: Path,
) -> None:
    with pytest.raises(UnknownSettingError, match="fim_trian_seed") as refused:
        load_settings(env={"fim_trian_seed": "7"}, cwd=tmp_path)
    assert refused.value.hint == "did you mean FIM_TRAIN_SEED?"
    others = {"TRAIN_SEED": "7", "train_seed": "7", "MODEL_NAME": "x"}
    assert load_settings(env=others, cwd=tmp_path).settings == Settings()


def test_two_spellings_of_one_name_must_agree(tmp_path: Path) -> None:
    env = {"FIM_TRAIN_SEED": "1", "fim_train_seed": "2"}
    with pytest.raises(InvalidSettingError, match="one name with several values"):
        load_settings(env=env, cwd=tmp_path)
    same = {"FIM_TRAIN_SEED": "1", "fim_train_seed": "1"}
    assert load_settings(env=same, cwd=tmp_path).settings.train.seed == 1


def test_switches_and_the_preset_count_in_any_case(tmp_path: Path) -> None:
    env = {"fim_debug": "1", "Fim_Cache_Dir": str(tmp_path / "c"), "fim_preset": "cpu"}
    switches = read_switches(env, tmp_path)
    assert (switches.debug, switches.cache_dir) == (True, tmp_path / "c")
    assert load_settings(env=env, cwd=tmp_path).settings.preset == "cpu"


@pytest.mark.parametrize("quote", ["'", '"'])
def test_quotes_that_docker_keeps_are_not_part_of_a_value(tmp_path: Path, quote: str) -> None:
    env = {
        "FIM_MODEL_NAME": f"{quote}someone/model{quote}",
        "FIM_DATA_PATH": f"{quote}my rows.jsonl{quote}",
        "FIM_MODEL_LOAD_IN_4BIT": f"{quote}false{quote}",
        "FIM_LORA_TARGET_MODULES": f"{quote}q_proj,v_proj{quote}",
        "FIM_TRAIN_MAX_MINUTES": f"{quote}none{quote}",
        "FIM_TRAIN_SEED": quote * 2,
        "FIM_PRESET": f"{quote}cpu{quote}",
    }
    settings = load_settings(env=env, cwd=tmp_path).settings
    assert settings.model.name == "someone/model"
    assert settings.data.path == Path("my rows.jsonl")
    assert settings.model.load_in_4bit is False
    assert settings.lora.target_modules == ("q_proj", "v_proj")
    assert (settings.train.max_minutes, settings.train.seed) == (None, 3407)
    assert settings.preset == "cpu"


@pytest.mark.parametrize("text", ["q_proj k_proj", "[q_proj,k_proj]", 'q_proj,"v', "(q)"])
def test_lists_in_another_spelling_are_refused_with_the_value(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidSettingError, match="comma separated or JSON") as refused:
        load_settings(overrides={"lora.target_modules": text}, env={}, cwd=tmp_path)
    assert repr(text) in refused.value.message


def test_two_licences_in_one_name_are_refused_and_an_expression_is_one(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingError, match="MIT Apache"):
        load_settings(overrides={"corpus.denied_licences": "MIT Apache-2.0"}, env={}, cwd=tmp_path)
    given = {"corpus.denied_licences": "GPL-2.0-only WITH Classpath-exception-2.0,GPL-[23]*"}
    assert load_settings(overrides=given, env={}, cwd=tmp_path).settings.corpus.denied_licences[1:]


def test_the_formats_with_anchors_and_aligned_cuts_are_those_of_the_registry() -> None:
    from fim.data import ends_at_cursor
    from fim.types import FimExample

    probe = FimExample(id="p", prefix="a\nb", middle="c", suffix="\nd", language="Python")
    assert {name for name in format_names() if can_anchor(name)} == ANCHORED_FORMATS
    never = {
        name
        for name in format_names()
        if not any(
            ends_at_cursor(build.render(probe, with_middle=False))
            for lines in ((0, 4) if can_anchor(name) else (0,))
            for build in build_formats(name, anchor_lines=lines)
        )
    }
    assert never == UNALIGNED_FORMATS


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", format_names())
@pytest.mark.parametrize("source", ["command line", "environment", ".env", "fim.toml"])
def test_a_named_format_wins_over_what_a_preset_says_of_another(
    tmp_path: Path, preset: str, name: str, source: str
) -> None:
    env, overrides = {}, {}
    if source == "command line":
        overrides = {"data.format": name}
    elif source == "environment":
        env = {"FIM_DATA_FORMAT": name}
    elif source == ".env":
        (tmp_path / ".env").write_text(f"FIM_DATA_FORMAT={name}\n", encoding="utf-8")
    else:
        (tmp_path / "fim.toml").write_text(f'[data]\nformat = "{name}"\n', encoding="utf-8")
    resolved = load_settings(preset=preset, overrides=overrides, env=env, cwd=tmp_path)
    data = resolved.settings.data
    assert data.anchor_lines == (4 if can_anchor(name) else 0)
    assert data.align_cuts is (name not in UNALIGNED_FORMATS)
    assert build_formats(data.format, anchor_lines=data.anchor_lines)
    if not can_anchor(name):
        (note,) = resolved.notes
        assert f"data.format={name} brings data.anchor_lines=0 in place of 4" in note
        explained = explain_setting("data.anchor_lines", resolved)
        assert explained.source == f"default with data.format={name}"
        assert explained.overrode[0] == SourcedValue(4, f"preset {preset}")


def test_only_what_the_user_gave_can_conflict(tmp_path: Path) -> None:
    given = {"data.format": "chatml", "data.anchor_lines": 4}
    kept = load_settings(preset="cpu", overrides=given, env={}, cwd=tmp_path)
    assert kept.settings.data.anchor_lines == 4
    named = {"model.name": EMBEDDED_MODEL_NAME}
    for preset in (None, *PRESETS):
        resolved = load_settings(preset=preset, overrides=named, env={}, cwd=tmp_path)
        assert resolved.settings.model.load_in_4bit is False
        assert check_settings(preset=preset, overrides=named, env={}, cwd=tmp_path) == ()
    env = {"FIM_MODEL_LOAD_IN_4BIT": "true"}
    with pytest.raises(ConflictingSettingsError, match=r"model\.load_in_4bit is true"):
        load_settings(overrides=named, env=env, cwd=tmp_path)
    assert json.dumps(resolved.as_json())
