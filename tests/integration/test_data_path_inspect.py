"""``fim data inspect`` and ``fim formats`` with a folder that holds just a real tokenizer."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from fim.cli import data_commands, formats_commands
from fim.config import load_settings
from fim.data import (
    ExampleEncoder,
    Mixture,
    align_holes,
    cut_aligner,
    encode_mixture,
    load_examples,
    mix_examples,
)
from fim.formats import format_names, resolve_format
from fim.logger import close_logging

if TYPE_CHECKING:
    from fim.data import TokenizerView

ROW = {
    "prefix": "def mean(xs):\n    ret",
    "middle": "urn sum(xs)\n</think> <|im_end|>\r\n",
    "suffix": "\n<|fim_middle|>\n",
    "context_items": [{"content": "```\ncode\n```", "file_path": "a.md", "score": 1.0}],
    "lang": "python",
}


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("FIM_")]:
        monkeypatch.delenv(name)
    yield
    close_logging()


def answer(*arguments: str) -> dict[str, object]:
    app = typer.Typer()
    data_commands.register(app)
    formats_commands.register(app)
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("name", ["chatml", "psm", "left-to-right"])
def test_a_row_with_a_real_tokenizer(
    name: str, tmp_path: Path, qwen3_tokenizer_folder: Path, qwen3_view: TokenizerView
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROW) + "\n", encoding="utf-8")
    model = str(qwen3_tokenizer_folder)
    found = answer("data", "inspect", str(path), "--format-name", name, "--model", model)
    ids, labels, prompt = found["input_ids"], found["labels"], found["prompt_ids"]
    assert isinstance(ids, list)
    assert isinstance(labels, list)
    assert isinstance(prompt, list)
    assert ids[: len(prompt)] == prompt
    end = "<|im_end|>" if name == "chatml" else "<|endoftext|>"
    assert qwen3_view.decode([each for each in labels if each != -100]) == ROW["middle"] + end
    assert labels[len(prompt) :] == ids[len(prompt) :]
    assert found["round_trip"] is True


def test_a_row_is_shown_as_it_is_trained(
    tmp_path: Path, qwen3_tokenizer_folder: Path, qwen3_view: TokenizerView
) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{**ROW, "middle": "urn sum(xs)"}, {**ROW, "prefix": "def mean(xs):\n"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ("--format-name", "psm", "--anchor-lines", "4", "--model")
    command = ("data", "inspect", str(path), *options, str(qwen3_tokenizer_folder))
    given = answer(*command)
    assert (given["moved_chars"], given["moved_rows"]) == (0, {"moved": 0, "of": 2})
    found = answer(*command, "--set", "data.align_cuts=true")
    assert (found["moved_chars"], found["moved_rows"]) == (4, {"moved": 1, "of": 2})
    settings = load_settings(overrides={"data.align_cuts": True}, env={}, cwd=tmp_path).settings
    loaded = load_examples(path, settings=settings.data)
    resolved = resolve_format("psm", qwen3_view, anchor_lines=4)
    align = cut_aligner(resolved.format, qwen3_view)
    trained = align_holes(mix_examples(loaded.examples[:1], Mixture()), align)
    encoder = ExampleEncoder(resolved, qwen3_view, max_seq_length=2048, middle_reserve_tokens=64)
    (row,) = encode_mixture(trained, encoder, is_extended=False).rows
    assert (found["input_ids"], found["labels"]) == (list(row.input_ids), list(row.labels))


def test_what_a_real_tokenizer_speaks(qwen3_tokenizer_folder: Path) -> None:
    found = answer("formats", "list", "--model", str(qwen3_tokenizer_folder))
    formats = found["formats"]
    assert isinstance(formats, list)
    speaks = {each["name"]: each["speaks_as"] for each in formats}
    assert speaks == dict.fromkeys(format_names(), "qwen") | {"chatml": "qwen3"}
