"""A few hundred rows in the published data set's schema, cut from real code by the test itself."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fim.config import DataSettings
from fim.data import ExampleEncoder, TokenizerView, encode_examples, load_examples, split_examples
from fim.formats import resolve_format
from published_rows import NUM_FILES, ROWS_PER_FILE, published_rows


def write(rows: list[dict[str, object]], path: Path, shape: str) -> Path:
    if shape == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path.with_suffix(".parquet"))
        return path.with_suffix(".parquet")
    if shape == "json_string":
        rows = [row | {"context_items": json.dumps(row["context_items"])} for row in rows]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path.with_suffix(".jsonl").write_text(lines, encoding="utf-8")
    return path.with_suffix(".jsonl")


@pytest.mark.parametrize("shape", ["parquet", "jsonl", "json_string"])
def test_every_shape_of_the_published_schema_loads_alike(tmp_path: Path, shape: str) -> None:
    loaded = load_examples(
        write(list(published_rows()), tmp_path / "d", shape), settings=DataSettings()
    )
    assert loaded.report.used == NUM_FILES * ROWS_PER_FILE
    assert {each.language for each in loaded.examples} == {"Python"}
    for row, example in zip(published_rows(), loaded.examples, strict=True):
        assert (example.prefix, example.middle, example.suffix) == (
            row["prefix"],
            row["middle"],
            row["suffix"],
        )
        assert not any(
            len(example.middle.strip()) >= 20 and example.middle.strip() in item.text
            for item in example.context
        )
    assert loaded.context_report.dropped["context_holds_middle"] >= 200


def test_the_split_keeps_files_apart_and_rows_encode(
    tmp_path: Path, qwen3_view: TokenizerView
) -> None:
    path = write(list(published_rows()), tmp_path / "d", "parquet")
    loaded = load_examples(path, settings=DataSettings())
    origin = {row["prefix"]: row["origin"] for row in published_rows()}
    train, held_out = split_examples(loaded.examples, held_out_fraction=0.2, seed=3407)
    assert 0.1 <= len(held_out) / len(loaded.examples) <= 0.2
    assert not {origin[each.prefix] for each in train} & {origin[each.prefix] for each in held_out}

    encoder = ExampleEncoder(resolve_format("psm", qwen3_view), qwen3_view, max_seq_length=512)
    encoded = encode_examples(held_out, encoder)
    assert encoded.report.dropped == {}
    assert encoded.num_not_round_trip == 0
    assert all(len(row.input_ids) <= 512 for row in encoded.rows)
