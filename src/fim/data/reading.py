"""Raw rows of data files, one at a time, whatever form the file has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO

from fim.data.json_values import read_values
from fim.data.rows import KNOWN_FIELDS, RawRow, RowProblem
from fim.data.sniffing import FileForm, FileKind, open_bytes, open_utf8, sniff
from fim.data.sources import SOURCE_HINT
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from pyarrow import RecordBatch

    from fim.data.sources import SourceFile

Found = tuple[str, str, Mapping[str, object] | RowProblem]

_BATCH_ROWS = 32
_SAMPLE_CHARS = 60


def read_rows(
    file: SourceFile, *, max_row_bytes: int, first_number: int = 0, is_named: bool = False
) -> Iterator[RawRow]:
    """Yield the rows of a file in order; a broken row is yielded as its problem.

    No more than ``max_row_bytes`` of a JSONL line is ever held in memory.

    Args:
        file: The file and its side.
        max_row_bytes: Longest row; a longer one is a problem.
        first_number: Number of its first row.
        is_named: Tell the file's name in each location.

    Raises:
        SourceNotFoundError: The file is missing, unreadable, or known to hold no rows.
    """
    path, label = file.path, f"{file.name} " if is_named else ""
    try:
        form = sniff(path)
        rows = _READERS[form.kind](path, form, max_row_bytes)
        for number, (position, side, found) in enumerate(rows, first_number):
            location, own = f"{label}{position}", side or file.side
            if isinstance(found, RowProblem):
                yield RawRow(number, location, problem=found, side=own)
            else:
                yield RawRow(number, location, fields=found, side=own)
    except OSError as error:
        raise SourceNotFoundError(
            f"{path} cannot be read: {error.strerror or error}", hint=SOURCE_HINT
        ) from error


def find_oversize(fields: Mapping[str, object], *, max_row_bytes: int) -> RowProblem | None:
    """Return the problem of a row whose texts are too many bytes together, None when it is fine."""
    num_bytes = _num_bytes(fields)
    return _too_large(num_bytes, max_row_bytes) if num_bytes > max_row_bytes else None


def _read_lines(path: Path, form: FileForm, max_row_bytes: int) -> Iterator[Found]:
    with open_utf8(path, form) as stream:
        line_number = 0
        while line := stream.readline(max_row_bytes + 1):
            line_number += 1
            position = f"line {line_number}"
            if len(line) > max_row_bytes:
                num_bytes = len(line) + _skip_line(stream, line, max_row_bytes)
                yield position, "", _too_large(num_bytes, max_row_bytes)
            elif line.strip():
                yield position, "", _parse_line(line)


def _skip_line(stream: BinaryIO, start: bytes, chunk_bytes: int) -> int:
    skipped, chunk = 0, start
    while chunk and not chunk.endswith(b"\n"):
        chunk = stream.readline(chunk_bytes)
        skipped += len(chunk)
    return skipped


def _parse_line(line: bytes) -> Mapping[str, object] | RowProblem:
    sample = line[:_SAMPLE_CHARS].decode("utf-8", "replace").strip()
    try:
        fields = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return RowProblem("broken_utf8", f"byte {error.start} is not UTF-8", sample=sample)
    except (ValueError, RecursionError) as error:
        return RowProblem("broken_json", str(error) or type(error).__name__, sample=sample)
    if not isinstance(fields, dict):
        detail = f"the row is {type(fields).__name__}, not an object"
        return RowProblem("wrong_type", detail, sample=sample)
    return fields


def _read_values(path: Path, form: FileForm, max_row_bytes: int) -> Iterator[Found]:
    with open_utf8(path, form) as stream:
        for number, (side, found) in enumerate(read_values(stream, max_row_bytes), 1):
            if isinstance(found, RowProblem):
                yield f"row {number}", side, found
            else:
                oversize = find_oversize(found, max_row_bytes=max_row_bytes)
                yield f"row {number}", side, oversize or found


def _read_parquet(path: Path, form: FileForm, max_row_bytes: int) -> Iterator[Found]:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with (
            open_bytes(path, form.layers) as stream,
            ParquetFile(stream if form.layers else path) as table,
        ):
            seen = _columns(table.schema_arrow.names)
            batches = table.iter_batches(batch_size=_BATCH_ROWS, columns=seen)
            yield from _rows_of_batches(batches, max_row_bytes)
    except ArrowException as error:
        raise OSError(f"not a readable parquet file ({error})") from error


def _read_arrow(path: Path, form: FileForm, max_row_bytes: int) -> Iterator[Found]:
    from pyarrow import ArrowException, ipc

    try:
        with open_bytes(path, form.layers) as stream:
            if form.kind is FileKind.ARROW_STREAM:
                batches = iter(ipc.open_stream(stream))
            else:
                table = ipc.open_file(stream)
                batches = map(table.get_batch, range(table.num_record_batches))
            chosen = (batch.select(_columns(batch.schema.names)) for batch in batches)
            yield from _rows_of_batches(chosen, max_row_bytes)
    except ArrowException as error:
        raise OSError(f"not a readable Arrow file ({error})") from error


def _columns(names: list[str]) -> list[str]:
    return [name for name in names if name in KNOWN_FIELDS] or names


def _rows_of_batches(batches: Iterator[RecordBatch], max_row_bytes: int) -> Iterator[Found]:
    row_number = 0
    for batch in batches:
        for index in range(batch.num_rows):
            row_number += 1
            yield f"row {row_number}", "", _row_of_batch(batch, index, max_row_bytes)


def _row_of_batch(
    batch: RecordBatch, index: int, max_row_bytes: int
) -> Mapping[str, object] | RowProblem:
    try:
        fields: Mapping[str, object] = batch.slice(index, 1).to_pylist()[0]
    except UnicodeDecodeError as error:
        return RowProblem("broken_utf8", f"byte {error.start} of a text is not UTF-8")
    return find_oversize(fields, max_row_bytes=max_row_bytes) or fields


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


_READERS = {
    FileKind.LINES: _read_lines,
    FileKind.VALUES: _read_values,
    FileKind.PARQUET: _read_parquet,
    FileKind.ARROW_FILE: _read_arrow,
    FileKind.ARROW_STREAM: _read_arrow,
}
