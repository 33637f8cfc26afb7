from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fakes import ByteTokenizer
from fim.cli import formats_commands, tokenizing
from fim.formats import format_names
from fim.logger import close_logging


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FIM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(tokenizing, "load_view", lambda _settings: ByteTokenizer.smollm2())
    yield
    close_logging()


def run(*arguments: str) -> Result:
    app = typer.Typer()
    formats_commands.register(app)
    return CliRunner().invoke(app, ["formats", *arguments])


def test_list_answers_with_the_contract_keys() -> None:
    answer = json.loads(run("list", "--json").stdout)
    assert [each["name"] for each in answer["formats"]] == list(format_names())
    assert {"name", "version", "order", "families"} <= set(answer["formats"][0])


def test_list_is_a_table() -> None:
    result = run("list")
    assert result.exit_code == 0
    assert "left-to-right" in result.stdout


def test_list_tells_what_a_model_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    speechless = ByteTokenizer({"<|im_start|>": 1, "<|im_end|>": 2, "<|endoftext|>": 0}, offset=3)
    monkeypatch.setattr(tokenizing, "load_view", lambda _settings: speechless)
    answer = json.loads(run("list", "--model", "m", "--json").stdout)
    speaks = {each["name"]: each["speaks_as"] for each in answer["formats"]}
    assert speaks == dict.fromkeys(format_names()) | {"chatml": "smollm2"}
    assert "no" in run("list", "--model", "m").stdout


def test_show_explains_every_family() -> None:
    answer = json.loads(run("show", "psm", "--anchor-lines", "4", "--json").stdout)
    assert (answer["name"], answer["order"]) == ("psm", "psm")
    qwen = answer["families"][0]
    assert qwen["token_ids"]["<|fim_prefix|>"] == 151659
    assert qwen["end"] == qwen["stops"][0] == "<|endoftext|>"
    assert [each["kind"] for each in qwen["segments"] if each["trained"]] == ["middle", "end"]


@pytest.mark.parametrize("name", format_names())
def test_show_has_layout_ids_and_stops_for_all(name: str) -> None:
    answer = json.loads(run("show", name, "--json").stdout)
    for family in answer["families"]:
        assert family["layout"].count("\u2192 middle") == 1
        assert family["stops"][0] == family["end"]
        assert set(family["stops"]) <= set(family["token_ids"])
    shown = run("show", name).stdout
    assert "layout" in shown
    assert "stops" in shown


def test_show_tells_which_ids_may_be_any() -> None:
    shown = run("show", "codestral").stdout
    assert "[PREFIX] any id" in shown
    assert "<|fim_prefix|> 151659" in shown


def test_show_is_readable() -> None:
    result = run("show", "chatml")
    assert result.exit_code == 0
    assert "chatml@1  family qwen3" in result.stdout
    assert "# middle\n    urn math.pi * radius**2" in result.stdout


def test_show_for_a_model_is_its_family_alone() -> None:
    answer = json.loads(run("show", "psm", "--model", "m", "--json").stdout)
    assert [each["family"] for each in answer["families"]] == ["smollm2"]
    row = answer["families"][0]
    assert row["token_ids"]["<repo_name>"] == 3
    assert row["stop_ids"][0] == 0
    assert len(row["input_ids"]) == len(row["labels"])
    shown = run("show", "psm", "--model", "m").stdout
    assert "ids     [5, " in shown


def test_an_unknown_format_is_an_error_of_the_data() -> None:
    result = run("show", "chatm", "--json")
    assert result.exit_code == 3
    error = json.loads(result.stdout)["error"]
    assert error["kind"] == "UnknownFormat"
    assert "chatml" in error["hint"]
