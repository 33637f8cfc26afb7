from __future__ import annotations

from pathlib import Path

import pytest

from fim.errors import RunFolderError
from fim.runs.fields import Fields, read_object, read_optional_object, read_rows


@pytest.mark.parametrize(
    ("method", "value"),
    [
        ("text", 3),
        ("number", "3"),
        ("number", True),
        ("number", None),
        ("number", float("nan")),
        ("optional_number", []),
        ("count", 1.5),
        ("count", None),
        ("optional_count", True),
        ("optional_flag", "yes"),
        ("fields", [1]),
        ("rows", {"a": 1}),
        ("rows", [1]),
        ("texts", ["a", 1]),
        ("counts", {"a": "b"}),
        ("named_texts", {"a": 1}),
    ],
)
def test_a_wrong_type_names_file_and_key(method: str, value: object) -> None:
    fields = Fields({"key": value}, "run/summary.json")

    with pytest.raises(RunFolderError) as caught:
        getattr(fields, method)("key")

    assert "run/summary.json" in caught.value.message
    assert caught.value.hint


def test_absent_values_have_quiet_defaults() -> None:
    fields = Fields({"nan": float("inf")}, "x")

    assert fields.text("a", "b") == "b"
    assert fields.optional_number("nan") is None
    assert fields.optional_count("a") is None
    assert fields.optional_flag("a") is None
    assert fields.fields("a").values == {}
    assert fields.rows("a") == fields.texts("a") == ()
    assert fields.counts("a") == fields.named_texts("a") == {}


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is missing") as caught:
        read_object(tmp_path / "summary.json")

    assert "fim runs list" in caught.value.hint
    assert read_optional_object(tmp_path / "summary.json").values == {}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "holds list"),
        (b"\xff\xfe", "cannot be read"),
        (b"[" * 100_000, "is not JSON"),
    ],
)
def test_broken_file(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "summary.json"
    path.write_bytes(content)

    with pytest.raises(RunFolderError, match=told):
        read_object(path)


def test_a_folder_in_place_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_object(tmp_path)


def test_rows_keep_to_lines_of_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "x\u2028y"}\n\n{"a": "z"}\n', encoding="utf-8")

    assert [row.text("a") for row in read_rows(path)] == ["x\u2028y", "z"]


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"step": 1}\n{"ste', encoding="utf-8")

    assert len(read_rows(path)) == 1


def test_a_broken_line_before_the_end_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"ste\n{"step": 2}\n', encoding="utf-8")

    with pytest.raises(RunFolderError, match="line 1 is not JSON"):
        read_rows(path)
