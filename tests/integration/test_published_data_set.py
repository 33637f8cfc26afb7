"""The published data set, as files and through ``datasets``, in every shape of its sister sets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fim.config import DataSettings
from fim.data import LoadedExamples, load_examples, load_hub_examples, split_examples
from fim.errors import InvalidExampleError
from published_rows import Row, in_shape, published_rows

SHAPES = ("structs", "oracle", "ranked", "columns", "json", "json_columns")
COLUMNS = ("prefix", "suffix", "middle", "context_items", "lang")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def shaped(shape: str) -> list[Row]:
    rows = []
    for row in published_rows():
        items = row["context_items"]
        assert isinstance(items, list)
        kept = {name: row[name] for name in COLUMNS}
        rows.append(kept | {"context_items": in_shape(items, shape)})
    return rows


def write_shards(rows: list[Row], folder: Path, kind: str) -> Path:
    """Write four shards, as on the hub: ``data/train-00000-of-00004.parquet``."""
    (folder / "data").mkdir(parents=True)
    for shard in range(4):
        part = rows[shard::4]
        path = folder / "data" / f"train-{shard:05}-of-00004.{kind}"
        if kind == "parquet":
            pq.write_table(pa.Table.from_pylist(part), path)
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
    return folder


def essence(loaded: LoadedExamples) -> list[tuple[object, ...]]:
    return [
        (
            each.prefix,
            each.middle,
            each.suffix,
            each.language,
            [(item.text, item.path) for item in each.context],
        )
        for each in loaded.examples
    ]


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
@pytest.mark.parametrize("shape", SHAPES)
def test_files_of_every_shape_load_alike(tmp_path: Path, shape: str, kind: str) -> None:
    folder = write_shards(shaped(shape), tmp_path / "set", kind)
    loaded = load_examples(folder, settings=DataSettings())
    rows = published_rows()
    assert loaded.report.seen == loaded.report.used == len(rows) == 320
    assert {each.language for each in loaded.examples} == {"Python"}
    assert loaded.context_report.seen == 2 * len(rows)
    assert set(loaded.context_report.dropped) == {"context_holds_middle"}
    assert loaded.context_report.dropped["context_holds_middle"] >= 200
    best = [each.context[0].path for each in loaded.examples if len(each.context) == 2]
    ordered = [row for shard in range(4) for row in rows[shard::4]]
    names = [
        row["origin"]
        for row, each in zip(ordered, loaded.examples, strict=True)
        if len(each.context) == 2
    ]
    assert best == names


@pytest.mark.parametrize("is_streaming", [False, True])
def test_datasets_gives_what_the_files_give(tmp_path: Path, *, is_streaming: bool) -> None:
    folder = write_shards(shaped("structs"), tmp_path / "set", "parquet")
    settings = DataSettings(dataset_name=str(folder), streaming=is_streaming)
    through_datasets = load_hub_examples(settings)
    assert essence(through_datasets) == essence(load_examples(folder, settings=DataSettings()))
    assert through_datasets.context_report.dropped["context_holds_middle"] >= 200


def test_a_bounded_stream_stops_early(tmp_path: Path) -> None:
    folder = write_shards(shaped("structs"), tmp_path / "set", "parquet")
    loaded = load_hub_examples(DataSettings(dataset_name=str(folder), max_examples=7))
    assert loaded.report.seen == loaded.report.used == 7


def test_unusable_items_are_counted_and_refused_above_the_share(tmp_path: Path) -> None:
    rows = shaped("structs")
    for row in rows[: len(rows) // 2]:
        row["context_items"] = [{"content": None, "file_path": "x.py", "score": 0.1}]
    folder = write_shards(rows, tmp_path / "set", "jsonl")
    loaded = load_examples(folder, settings=DataSettings(max_unusable_context_share=0.4))
    assert loaded.context_report.dropped["context_unusable"] == 160
    with pytest.raises(InvalidExampleError, match=r"160 of 480 context items") as caught:
        load_examples(folder, settings=DataSettings(max_unusable_context_share=0.2))
    assert "FIM_DATA_MAX_UNUSABLE_CONTEXT_SHARE" in caught.value.hint


def test_the_split_never_parts_rows_of_one_file(tmp_path: Path) -> None:
    folder = write_shards(shaped("structs"), tmp_path / "set", "parquet")
    loaded = load_examples(folder, settings=DataSettings())
    origin = {row["prefix"]: row["origin"] for row in published_rows()}
    train, held_out = split_examples(loaded.examples, held_out_fraction=0.05, seed=3407)
    assert held_out
    assert not {origin[each.prefix] for each in train} & {origin[each.prefix] for each in held_out}
