"""``fim config show | explain | check``."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fim.cli.app import app
from fim.config import known_settings
from fim.logger import close_logging


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FIM_")]:
        monkeypatch.delenv(name)
    yield
    close_logging()


def fim(*arguments: str, **env: str) -> Result:
    """Run a command line."""
    return CliRunner().invoke(app, arguments, env=env)


def test_show_is_a_table_of_value_and_source() -> None:
    result = fim("config", "show", "--preset", "cpu", "--set", "lora.r=8", FIM_TRAIN_SEED="1")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert ["preset", "cpu", "command", "line"] in lines
    assert ["lora.r", "8", "command", "line"] in lines
    assert ["data.anchor_lines", "4", "preset", "cpu"] in lines
    assert max(len(line) for line in result.stdout.splitlines()) <= 80
    for key in known_settings():
        assert any(words[:1] == [key] for words in lines)


def test_show_as_json() -> None:
    (Path.cwd() / ".env").write_text("FIM_HF_TOKEN=hf_secret\n", encoding="utf-8")
    result = fim("config", "show", "--json", "--preset", "cpu", FIM_TRAIN_SEED="1")
    answer = json.loads(result.stdout)
    assert answer["settings"]["train"]["seed"] == {
        "value": 1,
        "source": "environment FIM_TRAIN_SEED",
    }
    assert answer["settings"]["hf"]["token"] == {"value": "**********", "source": ".env"}
    assert result.stderr == ""


def test_golden_explain() -> None:
    result = fim(
        "config", "explain", "learning_rate", "--preset", "8gb", FIM_TRAIN_LEARNING_RATE="0.001"
    )
    assert result.stdout == (
        "train.learning_rate = 0.001\n"
        "  Highest learning rate.\n"
        "  source    environment FIM_TRAIN_LEARNING_RATE\n"
        "  overrode  0.0002 (preset 8gb)\n"
        "  overrode  1e-05 (default)\n"
        "  must be   a number above 0 and at most 1\n"
        "  unit      per step\n"
        "  default   1e-05\n"
        "  variable  FIM_TRAIN_LEARNING_RATE\n"
    )


def test_explain_without_unit_and_as_json() -> None:
    assert "unit" not in fim("config", "explain", "lora.bias").stdout
    answer = json.loads(fim("config", "explain", "lora.bias", "--json").stdout)
    assert answer["value"] == "none"
    assert answer["env"] == "FIM_LORA_BIAS"


def test_check_says_ok() -> None:
    result = fim("config", "check")
    assert result.exit_code == 0
    assert result.stdout == f"ok: {len(known_settings())} settings, no problem\n"


def test_check_lists_all_problems() -> None:
    result = fim("config", "check", FIM_TRIAN_SEED="1", FIM_LORA_R="0")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: 2 problems in the configuration")
    assert "did you mean FIM_TRAIN_SEED?" in result.stderr


def test_check_as_json() -> None:
    result = fim("config", "check", "--json", FIM_TRIAN_SEED="1")
    assert result.exit_code == 2
    assert json.loads(result.stdout) == {
        "ok": False,
        "problems": [
            {
                "key": "FIM_TRIAN_SEED",
                "message": "FIM_TRIAN_SEED (environment) is not a setting, "
                "so its value would be ignored",
                "hint": "did you mean FIM_TRAIN_SEED?",
            }
        ],
    }


def test_check_tells_a_broken_file() -> None:
    Path("fim.toml").write_text("[train\n", encoding="utf-8")
    result = fim("config", "check", "--json")
    assert result.exit_code == 2
    (problem,) = json.loads(result.stdout)["problems"]
    assert problem["key"] == "fim.toml"
    assert "line 1" in problem["message"]


def test_an_assignment_that_is_none() -> None:
    result = fim("config", "show", "--set", "train.seed")
    assert result.stderr == (
        "error: --set train.seed is not KEY=VALUE, so nothing can be set by it\n"
        "hint: write it like --set train.seed=1\n"
    )


@pytest.mark.parametrize(
    ("flags", "level"), [([], "WARNING"), (["-v"], "DEBUG"), (["-q"], "ERROR")]
)
def test_settings_configure_the_log(flags: list[str], level: str) -> None:
    fim("config", "show", *flags, "--set", "log.level=warning", "--set", "log.file=logs/fim.log")
    assert logging.getLogger("fim").level == logging.getLevelName(level)
    assert Path("logs/fim.log").is_file()


def test_a_log_file_that_cannot_be_written() -> None:
    Path("taken").mkdir()
    result = fim("config", "show", "--set", "log.file=taken")
    assert result.exit_code == 2
    assert result.stderr == (
        "error: log.file is taken, which cannot be written: Is a directory\n"
        "hint: set log.file to a writable path, or to none\n"
    )
