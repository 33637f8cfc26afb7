"""Every form of data file: read to the same rows, or named with the command that helps."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim.config import DataSettings
from fim.data import json_values, load_examples, load_sides
from fim.data.json_values import read_values
from fim.data.rows import RowProblem
from fim.errors import EmptyDatasetError, SourceNotFoundError

SETTINGS = DataSettings()
ROWS: list[dict[str, object]] = [
    {
        "prefix": f"ä{n} = [{{\n",
        "middle": f'"\\{n}',
        "suffix": "}]\r\n€",
        "lang": "py",
        "id": f"r{n}",
    }
    for n in range(5)
]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
COMPRESSED: Mapping[str, Callable[[bytes], bytes]] = {
    "rows.jsonl.gz": gzip.compress,
    "rows.jsonl.bz2": bz2.compress,
    "rows.jsonl.xz": lzma.compress,
    "rows.jsonl.zst": lambda raw: pa.compress(raw, codec="zstd", asbytes=True),
    "rows.jsonl": gzip.compress,
}
TEXTS: Mapping[str, str] = {
    "lines": LINES,
    "pretty array": json.dumps(ROWS, indent=2),
    "array on a line": json.dumps(ROWS),
    "array without end of line": json.dumps(ROWS, ensure_ascii=False),
    "wrapped": json.dumps({"data": ROWS}),
    "wrapped pretty": json.dumps({"version": 1, "data": ROWS, "more": {"a": [1]}}, indent=1),
    "wrapped twice": json.dumps({"set": {"rows": ROWS}}),
    "objects over lines": "\n".join(json.dumps(row, indent=2) for row in ROWS),
    "lines with commas": ",\n".join(json.dumps(row) for row in ROWS) + ",\n",
    "carriage returns": LINES.replace("\n", "\r"),
    "arrays by lines": json.dumps(ROWS[:2]) + "\n" + json.dumps(ROWS[2:]) + "\n",
    "blank lines first": "\n\n  " + LINES,
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be")


def assert_all_read(path: Path) -> None:
    loaded = load_examples(path, settings=SETTINGS)
    assert [(each.prefix, each.middle, each.suffix) for each in loaded.examples] == [
        (row["prefix"], row["middle"], row["suffix"]) for row in ROWS
    ]
    assert [each.id for each in loaded.examples] == [row["id"] for row in ROWS]
    assert loaded.report.dropped == {}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_every_text_form_in_every_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(text.encode(encoding))
    assert_all_read(path)


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_lines_are_read_whatever_the_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(COMPRESSED[name](LINES.encode()))
    assert_all_read(tmp_path / name)
    assert_all_read(tmp_path)


def test_a_compressed_array_in_another_encoding_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.json.gz"
    path.write_bytes(gzip.compress(json.dumps(ROWS, indent=1).encode("utf-16")))
    assert_all_read(path)


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows", "ROWS.PARQUET"])
def test_parquet_is_known_by_its_bytes(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / name)
    assert_all_read(tmp_path / name)


def test_lines_called_parquet_are_read(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text(LINES, encoding="utf-8")
    assert_all_read(tmp_path / "rows.parquet")


def test_parquet_in_gzip_is_read(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(ROWS), buffer)
    (tmp_path / "rows.parquet.gz").write_bytes(gzip.compress(buffer.getvalue()))
    assert_all_read(tmp_path / "rows.parquet.gz")


@pytest.mark.parametrize("kind", ["stream", "file", "feather"])
def test_arrow_files_are_read(tmp_path: Path, kind: str) -> None:
    path, table = tmp_path / "rows.arrow", pa.Table.from_pylist(ROWS)
    if kind == "feather":
        pyarrow.feather.write_feather(table, str(path))
    else:
        maker = pa.ipc.new_stream if kind == "stream" else pa.ipc.new_file
        with maker(path, table.schema) as sink:
            sink.write_table(table, max_chunksize=2)
    assert_all_read(path)
    assert_all_read(tmp_path)


def test_a_saved_data_set_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    saved = datasets.Dataset.from_list(ROWS)
    saved.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "saved" / "cache-00.arrow").write_bytes(b"of a map")
    assert_all_read(tmp_path / "saved")


def test_a_saved_dictionary_keeps_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    half = datasets.Dataset.from_list(ROWS[:2])
    whole = datasets.Dataset.from_list(ROWS)
    splits = {"train": whole, "validation": half, "extra": half}
    datasets.DatasetDict(splits).save_to_disk(str(tmp_path / "saved"))
    assert_all_read(tmp_path / "saved")
    loaded = load_sides(tmp_path / "saved", settings=SETTINGS)
    assert loaded.held_out is not None
    assert len(loaded.held_out.examples) == 4


def test_a_saved_split_that_says_test_is_held_out(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    named = datasets.Dataset.from_list(ROWS, split="test")
    named.save_to_disk(str(tmp_path / "saved"))
    loaded = load_sides(tmp_path / "saved", settings=SETTINGS)
    assert loaded.examples == ()
    assert loaded.held_out is not None
    assert len(loaded.held_out.examples) == len(ROWS)


def test_keys_of_a_wrapper_name_the_sides(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"train": ROWS[:3], "test": ROWS[3:]}))
    loaded = load_sides(path, settings=SETTINGS)
    assert loaded.held_out is not None
    assert (len(loaded.examples), len(loaded.held_out.examples)) == (3, 2)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("rows.jsonl", LINES)
    return buffer.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
TABLE = "prefix,middle,suffix\na,b,c\n"
FOREIGN: Mapping[str, tuple[bytes, str, str]] = {
    "pointer": (POINTER, "Git LFS pointer", "git -C {folder} lfs pull"),
    "annex": (b"/annex/objects/SHA256E-s9--0.jsonl\n", "git-annex", "annex get"),
    "apple double": (b"\x00\x05\x16\x07\x00\x02" + b"\x00" * 60, "AppleDouble", "rm {path}"),
    "zip": (zipped(), "zip archive", "unzip {path}"),
    "nothing but zeros": (b"\x00" * 500, "binary", "file {path}"),
    "noise": (b"\x01\x02\x00\xff" * 50, "binary", "file {path}"),
    "pickle": (b"\x80\x04\x95abc\x00", "pickle", "JSON lines"),
    "table": (TABLE.encode(), "separated values", "pyarrow.csv"),
    "table in UTF-16": (TABLE.encode("utf-16"), "separated values", "pyarrow.csv"),
    "web page": (b"<!DOCTYPE html><html></html>", "web page", "raw address"),
    "tar in gzip": (gzip.compress(b"x" * 257 + b"ustar" + b"\x00" * 300), "tar", "tar -xf {path}"),
    "cut parquet": (b"PAR1 and no more", "not a readable parquet", "fim data build"),
    "cut gzip": (gzip.compress(LINES.encode())[:60], "damaged or cut off", "fim data build"),
}


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("file", ["rows.jsonl", "my rows.parquet"])
def test_a_file_without_rows_says_what_it_is(tmp_path: Path, name: str, file: str) -> None:
    raw, what, hint = FOREIGN[name]
    path = tmp_path / file
    path.write_bytes(raw)
    with pytest.raises(SourceNotFoundError) as caught:
        load_examples(path, settings=SETTINGS)
    assert what in caught.value.message
    assert file in caught.value.message
    quoted = f"'{path}'" if " " in file else str(path)
    assert hint.format(path=quoted, folder=tmp_path) in caught.value.hint
    (tmp_path / "good.jsonl").write_text(LINES, encoding="utf-8")
    with pytest.raises(SourceNotFoundError, match=what):
        load_examples(tmp_path, settings=SETTINGS)


@pytest.mark.parametrize("mark", [",", "\t", ";"])
def test_the_command_for_a_table_works_as_printed(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "my rows.csv"
    path.write_text(TABLE.replace(",", mark))
    with pytest.raises(SourceNotFoundError) as caught:
        load_examples(path, settings=SETTINGS)
    assert printed(caught.value.hint, tmp_path).returncode == 0
    made = load_examples(tmp_path / "my rows.csv.parquet", settings=SETTINGS).examples
    assert [(each.prefix, each.middle, each.suffix) for each in made] == [("a", "b", "c")]


def printed(hint: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = hint.replace("python", sys.executable, 1)
    return subprocess.run(
        command, shell=True, cwd=folder, check=False, capture_output=True, text=True
    )


PLAIN = [{name: row[name] for name in ("prefix", "middle", "suffix")} for row in ROWS]
CAUSES: Mapping[str, tuple[bytes, str]] = {
    "python": ("\n".join(map(repr, PLAIN)).encode(), "written as Python"),
    "columns": (
        json.dumps({name: [row[name] for row in PLAIN] for name in PLAIN[0]}).encode(),
        "table by columns",
    ),
    "pandas": (
        json.dumps(
            {name: {str(n): row[name] for n, row in enumerate(PLAIN)} for name in PLAIN[0]}
        ).encode(),
        "table by columns",
    ),
}


@pytest.mark.parametrize("name", CAUSES)
def test_the_command_for_a_file_whose_every_row_fails_works(tmp_path: Path, name: str) -> None:
    raw, what = CAUSES[name]
    path = tmp_path / "in put.json"
    path.write_bytes(raw)
    with pytest.raises(EmptyDatasetError, match=what) as caught:
        load_examples(path, settings=SETTINGS)
    done = printed(caught.value.hint, tmp_path)
    assert done.returncode == 0, done.stderr
    made = load_examples(tmp_path / "rows.jsonl", settings=SETTINGS).examples
    assert [each.prefix for each in made] == [row["prefix"] for row in ROWS]


def test_other_causes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(json.dumps(ROWS[0], ensure_ascii=False).replace("€", "e").encode("latin-1"))
    with pytest.raises(EmptyDatasetError, match="another encoding") as caught:
        load_examples(path, settings=SETTINGS)
    assert caught.value.hint.startswith("iconv -f WINDOWS-1252 -t UTF-8 ")
    path.write_text("def f():\n    return 1\n")
    with pytest.raises(EmptyDatasetError, match="plain text"):
        load_examples(path, settings=SETTINGS)
    info = tmp_path / "dataset_infos.json"
    info.write_text('{\n "default": {}\n}')
    with pytest.raises(EmptyDatasetError, match="describes a data set"):
        load_examples(info, settings=SETTINGS)


def test_the_commonest_detail_and_a_row_are_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{**row, "middle": 0.5} for row in ROWS] + [{"text": 1}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(EmptyDatasetError) as caught:
        load_examples(path, settings=SETTINGS)
    assert "middle is float, not text in 5 of 6 rows" in caught.value.message
    assert "for example line 1: {prefix: " in caught.value.message


def test_side_files_never_hide_the_data(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text(LINES, encoding="utf-8")
    (tmp_path / "data" / "._rows.jsonl").write_bytes(b"\x00\x05\x16\x07")
    (tmp_path / "data" / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    for name in ("dataset_infos.json", "dataset_info.json", "state.json", "notes.json"):
        (tmp_path / name).write_text(json.dumps({"default": {"features": {"a": [1]}}}, indent=1))
    (tmp_path / "README.md").write_text("# Data")
    assert_all_read(tmp_path)


def test_what_is_left_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "rows.jsonl").write_text(LINES, encoding="utf-8")
    (tmp_path / "more.csv").write_text(TABLE)
    (tmp_path / "notes.json").write_text('{"by": "me"}')
    assert_all_read(tmp_path)
    assert "not read: more.csv, notes.json" in caplog.text
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(SourceNotFoundError, match=r"files not read: more\.csv") as caught:
        load_examples(tmp_path, settings=SETTINGS)
    assert "pyarrow.csv" in caught.value.hint


def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").symlink_to(tmp_path / "annex" / "x")
    for path in (tmp_path, tmp_path / "rows.jsonl"):
        with pytest.raises(SourceNotFoundError, match="which is not here"):
            load_examples(path, settings=SETTINGS)


def test_an_empty_array_holds_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    for text in ("[]", "\n \n"):
        path.write_text(text)
        with pytest.raises(EmptyDatasetError, match="holds no rows"):
            load_examples(path, settings=SETTINGS)


def test_a_cut_array_keeps_its_whole_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    text = json.dumps(ROWS)
    path.write_text(text[: text.rindex("{") + 20])
    loaded = load_examples(path, settings=SETTINGS)
    assert (loaded.report.used, set(loaded.report.dropped)) == (4, {"broken_json"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
DRAWN = st.lists(st.fixed_dictionaries({"prefix": st.text(max_size=30), "other": JSON}), max_size=6)


@given(DRAWN, st.integers(1, 30), st.sampled_from([None, 1]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_arrays_are_read_alike_in_pieces_of_any_size(
    rows: list[dict[str, object]], chunk: int, indent: int | None, is_wrapped: bool
) -> None:
    text = json.dumps({"data": rows} if is_wrapped and rows else rows, indent=indent)
    with mock.patch.object(json_values, "_CHUNK_BYTES", chunk):
        found = [row for _, row in read_values(io.BytesIO(text.encode()), 10_000)]
    assert found == rows


@given(DRAWN, st.integers(0, 6), st.sampled_from(['{"a" 1}', '{"a": [1, "}]"', "nul"]))
@settings(max_examples=150, deadline=None)
def test_reading_goes_on_behind_a_long_or_a_broken_row(
    rows: list[dict[str, object]], place: int, broken: str
) -> None:
    texts = [json.dumps(row) for row in rows]
    long = json.dumps({"prefix": 'x"}],\\' * 600})
    texts.insert(place, long)
    closed = broken if broken != '{"a": [1, "}]"' else broken + "]}x"
    texts.insert(place, closed)
    text = io.BytesIO(f"[{','.join(texts)}]".encode())
    with mock.patch.object(json_values, "_CHUNK_BYTES", 100):
        found = [row for _, row in read_values(text, 2000)]
    good = [row for row in found if not isinstance(row, RowProblem)]
    reasons = {row.reason for row in found if isinstance(row, RowProblem)}
    assert [row for row in good if row in rows] == rows
    assert "row_too_large" in reasons


def test_a_wrapper_that_is_too_long_for_a_row_is_read_by_its_keys() -> None:
    many = [{"prefix": "p" * 50, "middle": str(n), "suffix": ""} for n in range(200)]
    text = json.dumps({"about": {"a": 1}, "n": 3, "train": many, "set": {"test": many[:5]}})
    with mock.patch.object(json_values, "_CHUNK_BYTES", 100):
        found = list(read_values(io.BytesIO(text.encode()), 500))
    assert [row for side, row in found if side == "train"] == many
    assert [row for side, row in found if side == "held_out"] == many[:5]
    assert len(found) == 205


def test_what_is_no_row_is_told_as_its_kind() -> None:
    found = list(read_values(io.BytesIO(b'[1, "a", {"data": [2, {"x": 1}]}] nul {"a" 1}'), 500))
    reasons = [row.reason for _, row in found if isinstance(row, RowProblem)]
    assert reasons == ["wrong_type", "wrong_type", "broken_json"]
    wrapped = list(read_values(io.BytesIO(b'{"data": [2, {"x": 1}]}'), 500))
    assert [isinstance(row, RowProblem) for _, row in wrapped] == [True, False]


def test_a_broken_row_of_lines_does_not_end_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{broken\n" + LINES, encoding="utf-8")
    loaded = load_examples(path, settings=SETTINGS)
    assert (loaded.report.used, loaded.report.dropped) == (5, {"broken_json": 1})
