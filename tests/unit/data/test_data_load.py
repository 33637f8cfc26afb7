from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fim.config import DataSettings
from fim.data import available_splits, data_stats, load_examples, load_row
from fim.errors import EmptyDatasetError, InvalidExampleError, SourceNotFoundError

GOOD = {"prefix": "p", "middle": "m", "suffix": "s"}
SETTINGS = DataSettings()


def write_lines(path: Path, rows: Sequence[object]) -> Path:
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def write_parquet(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), path)
    return path


def test_good_rows_are_loaded_in_order(tmp_path: Path) -> None:
    rows = [GOOD | {"middle": str(number)} for number in range(5)]
    loaded = load_examples(write_lines(tmp_path / "d.jsonl", rows), settings=SETTINGS)
    assert [each.middle for each in loaded.examples] == list("01234")
    assert [each.id for each in loaded.examples] == [f"row-{number}" for number in range(5)]
    assert loaded.report.as_json() == {"seen": 5, "used": 5, "dropped": {}}


def test_every_bad_row_is_counted_under_its_reason(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = DataSettings(max_row_bytes=2000)
    rows = [
        GOOD,
        {"prefix": "p", "suffix": "s"},
        GOOD | {"middle": 3},
        b'{"prefix": "\xff", "middle": "", "suffix": ""}',
        b"{not json",
        [1, 2],
        GOOD | {"prefix": "x" * 5000},
        b"   ",
        GOOD,
    ]
    with caplog.at_level(logging.WARNING, logger="fim.data.load"):
        loaded = load_examples(write_lines(tmp_path / "d.jsonl", rows), settings=settings)
    assert loaded.report.as_json() == {
        "seen": 8,
        "used": 2,
        "dropped": {
            "broken_json": 1,
            "broken_utf8": 1,
            "missing_middle": 1,
            "row_too_large": 1,
            "wrong_type": 2,
        },
    }
    places = {(each.reason, each.location) for each in loaded.problems}
    assert ("row_too_large", "line 7") in places
    assert ("broken_utf8", "line 4") in places
    assert "6 of 8 rows dropped" in caplog.text


def test_a_five_megabyte_line_is_dropped_and_the_next_row_is_read(tmp_path: Path) -> None:
    rows = [GOOD | {"prefix": "x" * 5_000_000}, GOOD]
    loaded = load_examples(write_lines(tmp_path / "d.jsonl", rows), settings=SETTINGS)
    assert loaded.report.dropped == {"row_too_large": 1}
    assert loaded.examples[0].id == "row-1"
    assert "5000" in loaded.problems[0].detail


def test_a_large_last_line_without_newline_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + b"x" * 5000)
    loaded = load_examples(path, settings=DataSettings(max_row_bytes=1024))
    assert loaded.report.dropped == {"row_too_large": 1}


def test_a_byte_order_mark_is_not_data(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", [b"\xef\xbb\xbf" + json.dumps(GOOD).encode()])
    assert load_examples(path, settings=SETTINGS).report.used == 1


def test_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(b"")
    with pytest.raises(EmptyDatasetError, match="holds no rows") as caught:
        load_examples(tmp_path / "d.jsonl", settings=SETTINGS)
    assert caught.value.exit_code == 3
    assert caught.value.hint


def test_a_set_whose_every_row_is_dropped_names_reasons_and_lines(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", [{"text": "a"}] * 5 + [GOOD | {"suffix": 1}])
    with pytest.raises(EmptyDatasetError) as caught:
        load_examples(path, settings=SETTINGS)
    message = caught.value.message
    assert "none of the 6 rows" in message
    assert "missing_middle 5 (line 1, line 2, line 3, …)" in message
    assert "wrong_type 1 (line 6)" in message
    assert caught.value.context["dropped"] == {"missing_middle": 5, "wrong_type": 1}


def test_a_missing_path_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        load_examples(tmp_path / "none.jsonl", settings=SETTINGS)


def test_a_folder_without_data_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="holds no train examples"):
        load_examples(tmp_path, settings=SETTINGS)


def test_an_unreadable_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_lines(tmp_path / "d.jsonl", [GOOD])

    def refuse(*_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceNotFoundError, match="Permission denied"):
        load_examples(path, settings=SETTINGS)


def test_a_broken_parquet_is_told(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    path.write_bytes(b"PAR1 and then nothing")
    with pytest.raises(SourceNotFoundError, match="not a readable parquet"):
        load_examples(path, settings=SETTINGS)


def test_reading_stops_at_max_examples(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", [GOOD, {"x": 1}, GOOD, GOOD, GOOD])
    loaded = load_examples(path, settings=DataSettings(max_examples=2))
    assert loaded.report.as_json() == {"seen": 3, "used": 2, "dropped": {"missing_middle": 1}}


def test_unusable_context_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [
        GOOD | {"context_items": [{"content": "x"}, {"content": "y"}]},
        GOOD | {"context_items": [{"body": "z"}]},
        GOOD | {"middle": "a long enough middle.", "context": ["has a long enough middle. in it"]},
    ]
    with caplog.at_level(logging.WARNING):
        loaded = load_examples(write_lines(tmp_path / "d.jsonl", rows), settings=SETTINGS)
    assert loaded.context_report.as_json() == {
        "seen": 4,
        "used": 2,
        "dropped": {"context_holds_middle": 1, "context_unusable": 1},
    }
    assert "context_unusable" in caplog.text


def test_too_much_unusable_context_is_an_error(tmp_path: Path) -> None:
    rows = [GOOD | {"context_items": [{"body": "z"}, {"body": "y"}, {"content": "x"}]}]
    path = write_lines(tmp_path / "d.jsonl", rows)
    with pytest.raises(InvalidExampleError, match="2 of 3 context items") as caught:
        load_examples(path, settings=SETTINGS)
    assert "retrieved_chunk" in caught.value.hint
    settings = DataSettings(max_unusable_context_share=0.7)
    assert load_examples(path, settings=settings).report.used == 1


def test_a_built_set_has_two_splits(tmp_path: Path) -> None:
    context = [{"text": "c", "path": "c.py", "score": 1.0}]
    write_parquet(tmp_path / "train/b.parquet", [GOOD | {"id": "2", "context": context}])
    write_parquet(tmp_path / "train/a.parquet", [GOOD | {"id": "1", "context": context}])
    write_parquet(tmp_path / "held_out/a.parquet", [GOOD | {"id": "3", "context": []}])
    assert available_splits(tmp_path) == ("train", "held_out")
    train = load_examples(tmp_path, settings=SETTINGS)
    assert [each.id for each in train.examples] == ["1", "2"]
    assert train.examples[0].context[0].path == "c.py"
    held_out = load_examples(tmp_path, settings=SETTINGS, split="held_out")
    assert [each.id for each in held_out.examples] == ["3"]


def test_a_flat_folder_of_shards_is_a_train_set(tmp_path: Path) -> None:
    write_parquet(tmp_path / "data/x-0.parquet", [GOOD])
    write_parquet(tmp_path / "data/x-1.parquet", [GOOD])
    assert available_splits(tmp_path) == ()
    assert load_examples(tmp_path, settings=SETTINGS).report.used == 2
    with pytest.raises(SourceNotFoundError, match="no held_out examples"):
        load_examples(tmp_path, settings=SETTINGS, split="held_out")


def test_rows_of_several_files_name_their_file(tmp_path: Path) -> None:
    write_parquet(tmp_path / "a.parquet", [GOOD])
    write_parquet(tmp_path / "b.parquet", [GOOD | {"middle": None}])
    loaded = load_examples(tmp_path, settings=SETTINGS)
    assert loaded.problems[0].location == "b.parquet row 1"


def test_bad_parquet_rows_are_counted(tmp_path: Path) -> None:
    broken = pa.Array.from_buffers(
        pa.string(),
        3,
        [*pa.array(["a", "bc", "d"]).buffers()[:2], pa.py_buffer(b"a\xff\xfed")],
    )
    same = pa.array(["x", "y", "z" * 3000])
    table = pa.table({"prefix": broken, "middle": same, "suffix": same})
    pq.write_table(table, tmp_path / "d.parquet")
    loaded = load_examples(tmp_path / "d.parquet", settings=DataSettings(max_row_bytes=2000))
    assert loaded.report.dropped == {"broken_utf8": 1, "row_too_large": 1}


def test_binary_columns_are_a_wrong_type(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "d.parquet", [GOOD, GOOD | {"suffix": "x"}])
    table = pq.read_table(path)
    binary = table.set_column(0, "prefix", table["prefix"].cast(pa.binary()))
    pq.write_table(binary, path)
    with pytest.raises(EmptyDatasetError, match="wrong_type 2"):
        load_examples(path, settings=SETTINGS)


def test_parquet_without_our_columns_tells_those_it_has(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "d.parquet", [{"text": "x"}])
    with pytest.raises(EmptyDatasetError, match="missing_middle 1"):
        load_examples(path, settings=SETTINGS)


def test_a_row_is_loaded_by_its_index(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "d.jsonl", [GOOD, {"x": 1}, GOOD | {"middle": "third"}])
    assert load_row(path, 2, settings=SETTINGS).middle == "third"
    with pytest.raises(InvalidExampleError, match=r"line 2 .* missing_middle|missing_middle"):
        load_row(path, 1, settings=SETTINGS)
    with pytest.raises(InvalidExampleError, match="it holds 3 rows") as caught:
        load_row(path, 3, settings=SETTINGS)
    assert caught.value.hint == "choose an index from 0 to 2"


def test_a_row_of_an_empty_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_bytes(b"")
    with pytest.raises(InvalidExampleError, match="it holds 0 rows"):
        load_row(tmp_path / "d.jsonl", 0, settings=SETTINGS)


def test_stats_count_what_is_there(tmp_path: Path) -> None:
    rows = [
        GOOD | {"lang": "py", "document_id": "d", "context": ["x"], "span_kind": "call"},
        GOOD | {"lang": "python", "document_id": "d", "middle": ""},
        GOOD | {"lang": "ts", "middle": "m" * 50},
        {"x": 1},
    ]
    loaded = load_examples(write_lines(tmp_path / "d.jsonl", rows), settings=SETTINGS)
    stats = data_stats(loaded).as_json()
    assert stats["examples"] == 3
    assert stats["languages"] == {"Python": 2, "TypeScript": 1}
    assert stats["span_kinds"] == {"unknown": 2, "call": 1}
    assert (stats["documents"], stats["with_context"], stats["empty_middles"]) == (1, 1, 1)
    assert stats["middle_chars"] == {"min": 0, "median": 1, "p95": 50, "max": 50}
    assert stats["rows"] == {"seen": 4, "used": 3, "dropped": {"missing_middle": 1}}
