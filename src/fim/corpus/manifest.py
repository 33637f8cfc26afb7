"""Write a built set: parquet shards and a manifest, complete or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fim.corpus.splits import HELD_OUT, TRAIN
from fim.errors import OutputError, SourceNotFoundError
from fim.types import FimExample

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa


MANIFEST_FILE = "manifest.json"
MANIFEST_VERSION = 1
_SHARD_ROWS = 20_000
_ROW_GROUP_ROWS = 512
_TEXT_COLUMNS = (
    "id",
    "document_id",
    "repo",
    "path",
    "language",
    "prefix",
    "middle",
    "suffix",
    "span_kind",
    "split",
)


def split_hash(examples: Sequence[FimExample]) -> str:
    """Return the hash of a split's rows, in order, whatever file format holds them."""
    digest = hashlib.sha256()
    for example in examples:
        for part in (example.id, example.prefix, example.middle, example.suffix):
            content = part.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "big"))
            digest.update(content)
    return digest.hexdigest()


def write_corpus(
    out: Path,
    *,
    manifest: Mapping[str, object],
    train: Sequence[FimExample],
    held_out: Sequence[FimExample],
) -> None:
    """Write a built set to a folder, replacing an earlier built set there.

    Raises:
        OutputError: The folder holds something else, or cannot be written.
    """
    require_writable(out)
    try:
        with _replacing(out) as folder:
            for name, rows in ((TRAIN, train), (HELD_OUT, held_out)):
                _write_split(folder / name, rows)
            text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
            (folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"{out} cannot be written ({error.strerror or error}), so the built set was not kept; "
            "nothing half-written is left",
            hint="free some space there, or give another folder with --out",
        ) from error


def require_writable(out: Path) -> None:
    """Refuse a place that holds anything but an earlier built set.

    Raises:
        OutputError: The place is a file, or a folder with other content.
    """
    is_file = out.exists() and not out.is_dir()
    is_foreign = out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_FILE).is_file()
    if is_file or is_foreign:
        raise OutputError(
            f"{out} {'is a file' if is_file else 'holds other files'}; "
            "a built set replaces its whole folder, so they would be lost",
            hint="give a new or empty folder with --out",
        )


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    target = out.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    fresh, old = work / "new", work / "old"
    try:
        fresh.mkdir()
        yield fresh
        if target.exists():
            target.replace(old)
        fresh.replace(target)
    finally:
        if old.exists() and not target.exists():
            old.replace(target)
        shutil.rmtree(work, ignore_errors=True)


def _write_split(folder: Path, rows: Sequence[FimExample]) -> None:
    import pyarrow.parquet as pq

    folder.mkdir()
    schema = example_schema()
    for number, start in enumerate(range(0, max(len(rows), 1), _SHARD_ROWS)):
        shard = rows[start : start + _SHARD_ROWS]
        path = folder / f"part-{number:05d}.parquet"
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
            for first in range(0, max(len(shard), 1), _ROW_GROUP_ROWS):
                writer.write_table(_table(shard[first : first + _ROW_GROUP_ROWS], schema))


def read_rows(folder: Path, split: str) -> tuple[FimExample, ...]:
    """Return the rows of one side of a built set, in order.

    Raises:
        SourceNotFoundError: The side has no readable parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = sorted((folder / split).glob("*.parquet"))
    try:
        tables = [pq.read_table(path, columns=list(_TEXT_COLUMNS)) for path in paths]
    except (OSError, pa.ArrowException) as error:
        raise SourceNotFoundError(
            f"{folder / split} cannot be read: {error}; a part of the set is missing",
            hint=f"fim data build PATH... --out {folder}",
        ) from error
    if not tables:
        raise SourceNotFoundError(
            f"{folder / split} holds no parquet file, so it is no side of a built set",
            hint=f"fim data build PATH... --out {folder}",
        )
    return tuple(FimExample(**row) for table in tables for row in table.to_pylist())


def example_schema() -> pa.Schema:
    """Return the columns of a built set."""
    import pyarrow as pa

    item = pa.struct([("text", pa.string()), ("path", pa.string()), ("score", pa.float64())])
    columns = [(name, pa.string()) for name in _TEXT_COLUMNS]
    return pa.schema([*columns, ("context", pa.list_(item))])


def _table(rows: Sequence[FimExample], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns: dict[str, object] = {
        name: [getattr(row, name) for row in rows] for name in _TEXT_COLUMNS
    }
    columns["context"] = [
        [{"text": item.text, "path": item.path, "score": item.score} for item in row.context]
        for row in rows
    ]
    return pa.Table.from_pydict(columns, schema=schema)
