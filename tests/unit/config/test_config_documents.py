"""The generated example files: complete, fresh, and every documented variable sets its field."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from fim.config import PRESETS, Settings, known_settings, load_settings, setting_values
from fim.config.documents import (
    env_example,
    main,
    stale_documents,
    toml_example,
    write_documents,
)
from fim.config.fields import FieldFacts, as_plain
from fim.config.switches import SWITCH_NAMES

ROOT = Path(__file__).resolve().parents[3]
VARIABLE = re.compile(r"^# (FIM_[A-Z0-9_]+)=(.*)$", re.MULTILINE)
TOML_LINE = re.compile(r"^# (?=[a-z0-9_]+ = )", re.MULTILINE)
NOT_SETTINGS = {*SWITCH_NAMES, "FIM_PRESET"}
COMMITTED_ENV = (ROOT / ".env.example").read_text(encoding="utf-8")
DOCUMENTED = [name for name, _ in VARIABLE.findall(COMMITTED_ENV) if name not in NOT_SETTINGS]
OTHER_CHOICES = {
    "model.dtype": "float16",
    "model.backend": "transformers",
    "model.attn_implementation": "eager",
    "lora.bias": "all",
    "lora.target_modules": "q_proj,v_proj",
    "infer.stop": "block",
    "train.optim": "sgd",
    "train.lr_scheduler_type": "linear",
    "train.report_to": "tensorboard",
    "train.best_metric": "exact_match",
    "train.early_stopping_metric": "exact_match",
    "train.max_steps": "7",
    "train.packing": "tree",
    "corpus.split": "repo",
    "log.level": "ERROR",
    "log.format": "json",
}
COMPANIONS = {"model.full_finetuning": "[model]\nload_in_4bit = false\n"}


def another_value(facts: FieldFacts) -> str:
    """Return the text of a usable value that is not the default."""
    if facts.key in OTHER_CHOICES:
        return OTHER_CHOICES[facts.key]
    match facts.default:
        case bool():
            return str(not facts.default).lower()
        case int():
            return str(facts.default + 1)
        case float():
            return str(facts.default / 2 if facts.default else 0.5)
        case None:
            return facts.example
        case _:
            return "something-else"


def test_every_setting_is_documented_once() -> None:
    assert sorted(DOCUMENTED) == sorted(facts.env_name for facts in known_settings().values())


def test_every_switch_is_documented() -> None:
    assert {name for name, _ in VARIABLE.findall(env_example())} >= NOT_SETTINGS


@pytest.mark.parametrize("name", DOCUMENTED)
def test_a_documented_variable_sets_its_field(tmp_path: Path, name: str) -> None:
    facts = next(facts for facts in known_settings().values() if facts.env_name == name)
    value = another_value(facts)
    (tmp_path / ".env").write_text(f"{name}={value}\n", encoding="utf-8")
    (tmp_path / "fim.toml").write_text(COMPANIONS.get(facts.key, ""), encoding="utf-8")
    for resolved, source in (
        (load_settings(env={name: value}, cwd=tmp_path), f"environment {name}"),
        (load_settings(env={}, cwd=tmp_path), ".env"),
    ):
        assert resolved.sources[facts.key] == source
        assert dict(setting_values(resolved.settings))[facts.key] != facts.default
        assert [key for key, origin in resolved.sources.items() if origin == source] == [facts.key]


def test_uncommented_env_example_gives_the_defaults(tmp_path: Path) -> None:
    text = VARIABLE.sub(r"\1=\2", env_example()).replace("FIM_PRESET=cpu", "FIM_PRESET=")
    (tmp_path / ".env").write_text(text, encoding="utf-8")
    values = dict(setting_values(load_settings(env={}, cwd=tmp_path).settings))
    for key, facts in known_settings().items():
        if facts.default is not None:
            assert values[key] == facts.default
        else:
            assert str(as_plain(values[key])) in {facts.example, "**********"}


def test_toml_example_as_it_stands_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "fim.toml").write_text(toml_example(), encoding="utf-8")
    assert load_settings(env={}, cwd=tmp_path).settings == Settings()


def test_uncommented_toml_example_sets_every_field(tmp_path: Path) -> None:
    text = TOML_LINE.sub("", toml_example()).replace('preset = "cpu"', "")
    (tmp_path / "fim.toml").write_text(text, encoding="utf-8")
    resolved = load_settings(env={}, cwd=tmp_path)
    assert {resolved.sources[key] for key in known_settings()} == {"fim.toml"}
    assert sum(len(fields) for fields in tomllib.loads(text).values()) == len(known_settings())
    assert resolved.settings.model_copy(update={"preset": None}).lora == Settings().lora


def test_documents_tell_unit_range_and_presets() -> None:
    for text in (env_example(), toml_example()):
        assert "a number above 0 and at most 1 (per step)" in text.replace("\n# ", " ")
        assert all(f"#   {name}: " in text for name in PRESETS)
        assert max(len(line) for line in text.splitlines()) <= 100


def test_committed_files_are_fresh() -> None:
    assert stale_documents(ROOT) == ()


def test_writing_and_checking(tmp_path: Path) -> None:
    told = "not as the settings say: .env.example, fim.toml.example; "
    assert main(["--check"], tmp_path).startswith(told)
    assert main([], tmp_path) == ""
    assert main(["--check"], tmp_path) == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == [".env.example", "fim.toml.example"]
    (tmp_path / ".env.example").write_text("old", encoding="utf-8")
    assert stale_documents(tmp_path) == (".env.example",)
    assert [path.name for path in write_documents(tmp_path)] == [".env.example", "fim.toml.example"]


def test_unknown_argument(tmp_path: Path) -> None:
    assert main(["--chek"], tmp_path) == "unknown argument '--chek'; only --check is known"
