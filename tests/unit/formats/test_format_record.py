from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes import ByteTokenizer
from fim.errors import AdapterMismatchError, RunFolderError
from fim.formats import FORMAT_FILE, FormatRecord, read_record, resolve_format, write_record


@pytest.fixture
def record() -> FormatRecord:
    return resolve_format("psm", ByteTokenizer.qwen3(), anchor_lines=4).record()


def test_json_round_trip(record: FormatRecord) -> None:
    assert FormatRecord.from_json(json.loads(json.dumps(record.as_json()))) == record


def test_file_round_trip(record: FormatRecord, tmp_path: Path) -> None:
    assert write_record(tmp_path, record) == tmp_path / FORMAT_FILE
    assert read_record(tmp_path) == record
    assert [each.name for each in tmp_path.iterdir()] == [FORMAT_FILE]


@pytest.mark.parametrize(
    "change",
    [{"token_ids": None}, {"stop_ids": 3}, {"version": "new"}, {"end_id": None}],
)
def test_a_broken_record_is_refused(record: FormatRecord, change: dict[str, object]) -> None:
    with pytest.raises(AdapterMismatchError, match="not usable"):
        FormatRecord.from_json(record.as_json() | change)


@pytest.mark.parametrize("data", [[], None, {}])
def test_what_is_no_record_is_refused(data: object) -> None:
    with pytest.raises(AdapterMismatchError):
        FormatRecord.from_json(data)


def test_a_folder_without_a_record_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterMismatchError, match="cannot be read"):
        read_record(tmp_path)


def test_a_file_that_is_no_json_is_refused(tmp_path: Path) -> None:
    (tmp_path / FORMAT_FILE).write_text("{", encoding="utf-8")
    with pytest.raises(AdapterMismatchError, match="cannot be read"):
        read_record(tmp_path)


def test_an_unwritable_folder_is_told(record: FormatRecord, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot write"):
        write_record(tmp_path / "missing", record)


def test_a_failed_write_leaves_nothing_behind(record: FormatRecord, tmp_path: Path) -> None:
    (tmp_path / FORMAT_FILE).mkdir()
    with pytest.raises(RunFolderError):
        write_record(tmp_path, record)
    assert [each.name for each in tmp_path.iterdir()] == [FORMAT_FILE]
