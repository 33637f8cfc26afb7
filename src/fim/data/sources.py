"""Raw rows of JSONL files, parquet files and folders of them, one at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO

from fim.data.rows import KNOWN_FIELDS, RawRow, RowProblem
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from pyarrow import RecordBatch

SPLITS = ("train", "held_out")
DATA_SUFFIXES = (".parquet", ".jsonl", ".ndjson", ".json")
_PARQUET_MAGIC = b"PAR1"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BATCH_ROWS = 32
_HINT = "give a built set (fim data build), a .parquet or a .jsonl with prefix, middle and suffix"


def available_splits(path: Path) -> tuple[str, ...]:
    """Return which of ``train`` and ``held_out`` a built set holds; a file has none."""
    return tuple(split for split in SPLITS if _data_files(path / split))


def source_files(path: Path, *, split: str = "train") -> tuple[Path, ...]:
    """Return the data files behind a path, sorted by name.

    Args:
        path: A data file, a built set with a folder per split, or a folder of data files.
        split: ``train`` or ``held_out``; only a built set has the second.

    Raises:
        SourceNotFoundError: The path does not exist or holds no data files of that split.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise SourceNotFoundError(
            f"{path} does not exist, so there are no examples to read", hint=_HINT
        )
    files = _data_files(path / split)
    if not files and split == "train":
        files = _data_files(path) or _data_files(path / "data")
    if not files:
        raise SourceNotFoundError(
            f"{path} holds no {split} examples: no {split}/*.parquet and no other data file",
            hint=_HINT,
        )
    return files


def read_rows(files: tuple[Path, ...], *, max_row_bytes: int) -> Iterator[RawRow]:
    """Yield the rows of some files in order; a broken row is yielded as its problem.

    No more than ``max_row_bytes`` of a JSONL line is ever held in memory.

    Raises:
        SourceNotFoundError: A file is missing or unreadable.
    """
    number = 0
    for path in files:
        label = f"{path.name} " if len(files) > 1 else ""
        try:
            reader = _read_parquet if _is_parquet(path) else _read_jsonl
            for position, fields in reader(path, max_row_bytes):
                location = f"{label}{position}"
                if isinstance(fields, RowProblem):
                    yield RawRow(number, location, problem=fields)
                else:
                    yield RawRow(number, location, fields=fields)
                number += 1
        except OSError as error:
            raise SourceNotFoundError(
                f"{path} cannot be read: {error.strerror or error}", hint=_HINT
            ) from error


def find_oversize(fields: Mapping[str, object], *, max_row_bytes: int) -> RowProblem | None:
    """Return the problem of a row whose texts are too many bytes together, None when it is fine."""
    num_bytes = _num_bytes(fields)
    return _too_large(num_bytes, max_row_bytes) if num_bytes > max_row_bytes else None


def _data_files(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(
        sorted(each for each in folder.iterdir() if each.suffix in DATA_SUFFIXES and each.is_file())
    )


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(len(_PARQUET_MAGIC)) == _PARQUET_MAGIC or path.suffix == ".parquet"


def _read_jsonl(
    path: Path, max_row_bytes: int
) -> Iterator[tuple[str, Mapping[str, object] | RowProblem]]:
    with path.open("rb") as stream:
        line_number = 0
        while line := stream.readline(max_row_bytes + 1):
            line_number += 1
            position = f"line {line_number}"
            if len(line) > max_row_bytes:
                num_bytes = len(line) + _skip_line(stream, line, max_row_bytes)
                yield position, _too_large(num_bytes, max_row_bytes)
                continue
            if line_number == 1:
                line = line.removeprefix(_BYTE_ORDER_MARK)
            if line.strip():
                yield position, _parse_line(line)


def _skip_line(stream: BinaryIO, start: bytes, chunk_bytes: int) -> int:
    skipped, chunk = 0, start
    while chunk and not chunk.endswith(b"\n"):
        chunk = stream.readline(chunk_bytes)
        skipped += len(chunk)
    return skipped


def _parse_line(line: bytes) -> Mapping[str, object] | RowProblem:
    try:
        fields = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return RowProblem("broken_utf8", f"byte {error.start} is not UTF-8")
    except (ValueError, RecursionError) as error:
        return RowProblem("broken_json", str(error) or type(error).__name__)
    if not isinstance(fields, dict):
        return RowProblem("wrong_type", f"the row is {type(fields).__name__}, not an object")
    return fields


def _read_parquet(
    path: Path, max_row_bytes: int
) -> Iterator[tuple[str, Mapping[str, object] | RowProblem]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    row_number = 0
    try:
        with ParquetFile(path) as table:
            columns = [name for name in table.schema_arrow.names if name in KNOWN_FIELDS]
            seen = columns or table.schema_arrow.names
            for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=seen):
                for fields in _rows_of_batch(batch, max_row_bytes):
                    row_number += 1
                    yield f"row {row_number}", fields
    except ArrowException as error:
        raise OSError(f"not a readable parquet file ({error})") from error


def _rows_of_batch(
    batch: RecordBatch, max_row_bytes: int
) -> Iterator[Mapping[str, object] | RowProblem]:
    for index in range(batch.num_rows):
        row = batch.slice(index, 1)
        try:
            fields = row.to_pylist()[0]
        except UnicodeDecodeError as error:
            yield RowProblem("broken_utf8", f"byte {error.start} of a text is not UTF-8")
            continue
        yield find_oversize(fields, max_row_bytes=max_row_bytes) or fields


def _num_bytes(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping):
        return sum(_num_bytes(each) for each in value.values())
    if isinstance(value, list | tuple):
        return sum(_num_bytes(each) for each in value)
    return len(value) if isinstance(value, bytes) else 8


def _too_large(num_bytes: int, max_row_bytes: int) -> RowProblem:
    return RowProblem(
        "row_too_large", f"{num_bytes} bytes, above data.max_row_bytes={max_row_bytes}"
    )
