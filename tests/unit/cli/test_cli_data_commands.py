from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner, Result

from fakes import ByteTokenizer
from fim.cli import data_commands, tokenizing
from fim.logger import close_logging

TOKENIZER = ByteTokenizer.smollm2()
ROWS = [
    {"prefix": "x = ", "middle": "1", "suffix": "\n", "lang": "py"},
    {"prefix": "P" * 9000, "middle": "\n\t2\x1b[31m", "suffix": "\n", "context_items": []},
    {"prefix": "no middle", "suffix": "\n"},
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FIM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(tokenizing, "load_view", lambda _settings: TOKENIZER)
    yield
    close_logging()


def run(*arguments: str) -> Result:
    app = typer.Typer()
    data_commands.register(app)
    return CliRunner().invoke(app, ["data", *arguments])


@pytest.mark.parametrize("name", ["psm", "chatml", "left-to-right"])
def test_inspect_answers_with_the_contract_keys(data: Path, name: str) -> None:
    result = run("inspect", str(data), "--index", "1", "--format-name", name, "--json")
    answer = json.loads(result.stdout)
    assert set(answer) >= {
        "format",
        "input_ids",
        "labels",
        "prompt_ids",
        "segments",
        "cut",
        "round_trip",
    }
    assert set(answer["cut"]) == {"prefix_tokens", "suffix_tokens", "context_items"}
    assert {"kind", "text", "trained"} <= set(answer["segments"][0])
    num_prompt = len(answer["prompt_ids"])
    assert answer["input_ids"][:num_prompt] == answer["prompt_ids"]
    assert answer["labels"][:num_prompt] == [-100] * num_prompt
    trained = [label for label in answer["labels"] if label != -100]
    end = "<|im_end|>" if name == "chatml" else "<|endoftext|>"
    assert TOKENIZER.decode(trained) == "\n\t2\x1b[31m" + end
    assert answer["cut"]["prefix_tokens"] > 7000
    assert answer["round_trip"] is True
    assert answer["trains_on"] == "all"


def test_inspect_shows_segments_and_what_was_cut(data: Path) -> None:
    result = run("inspect", str(data), "--format-name", "psm", "--anchor-lines", "2")
    assert result.exit_code == 0
    assert "# middle 1 tokens\n    1" in result.stdout
    assert ". anchor 4 tokens" in result.stdout
    assert "cut: 0 prefix tokens" in result.stdout
    assert "whole row" in result.stderr


def test_inspect_never_sends_escapes_to_the_terminal(data: Path) -> None:
    result = run("inspect", str(data), "--index", "1", "--format-name", "psm")
    assert "\x1b" not in result.stdout
    assert "2\\x1b[31m" in result.stdout


def test_inspect_tells_of_a_middle_that_does_not_come_back(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(ByteTokenizer):
        def encode(self, text: str) -> list[int]:
            return super().encode(text.replace("1", ""))

    forgetful = Forgetful({"<|im_start|>": 1, "<|im_end|>": 2, "<|endoftext|>": 0}, offset=3)
    monkeypatch.setattr(tokenizing, "load_view", lambda _settings: forgetful)
    result = run("inspect", str(data), "--set", "data.enable_response_masking=true")
    assert "byte for byte" in result.stderr
    assert "whole row" not in result.stderr


def test_inspect_counts_languages_and_writes_a_page(data: Path, tmp_path: Path) -> None:
    page = tmp_path / "row.html"
    result = run("inspect", str(data), "--format-name", "psm", "--html", str(page), "--json")
    answer = json.loads(result.stdout)
    assert [each["language"] for each in answer["languages"]] == ["Python", "unknown"]
    assert answer["html"] == str(page)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    shown = run("inspect", str(data), "--format-name", "psm", "--html", str(page))
    assert "Python: tokens of the middle" in shown.stdout
    assert "page:" in shown.stderr


def test_inspect_counts_as_many_rows_as_asked(data: Path) -> None:
    answer = json.loads(run("inspect", str(data), "--rows", "0", "--json").stdout)
    assert answer["languages"] == []
    answer = json.loads(run("inspect", str(data), "--rows", "1", "--json").stdout)
    assert [each["rows"] for each in answer["languages"]] == [1]


@pytest.mark.parametrize(("index", "told"), [("2", "missing_middle"), ("9", "holds 3 rows")])
def test_inspect_of_a_bad_row_is_an_error_of_the_data(data: Path, index: str, told: str) -> None:
    result = run("inspect", str(data), "--index", index, "--json")
    assert result.exit_code == 3
    assert told in json.loads(result.stdout)["error"]["message"]


def test_inspect_with_a_format_that_the_tokenizer_cannot_speak(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizing, "load_view", lambda _settings: ByteTokenizer({"<s>": 300}))
    result = run("inspect", str(data), "--format-name", "psm")
    assert result.exit_code == 4
    assert "cannot speak" in result.stderr


def test_stats_count_a_file(data: Path) -> None:
    answer = json.loads(run("stats", str(data), "--json").stdout)
    assert answer["splits"]["train"]["rows"]["dropped"] == {"missing_middle": 1}
    assert answer["splits"]["train"]["languages"] == {"Python": 1, "unknown": 1}


def test_stats_show_both_sides_of_a_built_set(tmp_path: Path) -> None:
    for split in ("train", "held_out"):
        (tmp_path / "set" / split).mkdir(parents=True)
        rows = [{key: ROWS[0][key] for key in ("prefix", "middle", "suffix")}]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / split / "0.parquet")
    result = run("stats", str(tmp_path / "set"))
    assert result.exit_code == 0
    assert "held_out" in result.stdout
    assert "middle characters" in result.stdout


def test_a_missing_file_is_an_error_of_the_data(tmp_path: Path) -> None:
    assert run("stats", str(tmp_path / "none.jsonl")).exit_code == 3
