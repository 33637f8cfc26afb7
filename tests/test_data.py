"""The contract of ``fim.data``: the published fields in, rows whose middle alone is trained out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fim.config import load_settings
from fim.data import TokenizerView, load_examples
from fim.errors import EmptyDatasetError
from fim.pipeline import make_encoder
from fim.types import EncodedExample, FimExample

ROW = {
    "prefix": "def add(a, b):\n    return ",
    "suffix": "\n",
    "middle": "a + b",
    "context_items": [],
    "lang": "Python",
}


def write(path: Path, *rows: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_the_published_fields_become_an_example(tmp_path: Path) -> None:
    settings = load_settings(env={}, cwd=tmp_path).settings.data
    (example,) = load_examples(write(tmp_path / "rows.jsonl", ROW), settings=settings).examples
    assert (example.prefix, example.middle, example.suffix) == (
        ROW["prefix"],
        ROW["middle"],
        ROW["suffix"],
    )
    assert example.language == "Python"


def test_rows_without_a_middle_are_dropped_and_counted(tmp_path: Path) -> None:
    settings = load_settings(env={}, cwd=tmp_path).settings.data
    bad = {key: value for key, value in ROW.items() if key != "middle"}
    loaded = load_examples(write(tmp_path / "rows.jsonl", ROW, bad), settings=settings)
    assert loaded.report.used == 1
    assert sum(loaded.report.dropped.values()) == 1
    with pytest.raises(EmptyDatasetError, match="middle"):
        load_examples(write(tmp_path / "none.jsonl", bad), settings=settings)


@pytest.mark.parametrize("format_name", ["chatml", "psm"])
def test_a_row_is_its_prompt_and_its_trained_middle(
    format_name: str, smollm2_view: TokenizerView, tmp_path: Path
) -> None:
    settings = load_settings(env={}, cwd=tmp_path, overrides={"data.format": format_name}).settings
    encoder = make_encoder(settings, smollm2_view)
    example = FimExample("def add(a, b):\n    return ", "a + b", "\n", language="Python")
    row = encoder.try_encode(example)
    assert isinstance(row, EncodedExample)
    prompt = encoder.prompt(example).ids
    assert row.input_ids[: len(prompt)] == prompt
    trained = [token_id for token_id in row.labels if token_id != -100]
    assert tuple(trained) == row.input_ids[len(prompt) :]
    assert smollm2_view.decode(trained[:-1]) == "a + b"
    assert trained[-1] == encoder.resolved.end_id
