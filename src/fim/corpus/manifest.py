"""Write a built set: parquet shards and a manifest, complete or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from fim.corpus.columns import TEXT_COLUMNS, example_schema, table_of
from fim.corpus.notices import command_of
from fim.corpus.splits import HELD_OUT, TRAIN
from fim.errors import OutputError, SourceNotFoundError
from fim.types import ContextItem, FimExample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MANIFEST_FILE = "manifest.json"
MANIFEST_VERSION = 1
_ROW_GROUP_ROWS = 512
_ROW_GROUP_CHARS = 16_000_000
_BATCH_ROWS = 64
_LOCK_FILE = "building.lock"
_FRESH = "new"
_OLD = "old"


def row_hash(example: FimExample) -> bytes:
    """Return the hash of a row's id and texts, 32 bytes."""
    digest = hashlib.sha256()
    context = (item.text for item in example.context)
    for part in (example.id, example.prefix, example.middle, example.suffix, *context):
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.digest()


def hash_of_rows(row_hashes: Iterable[bytes]) -> str:
    """Return the hash of a split from the hashes of its rows, in order."""
    digest = hashlib.sha256()
    for row in row_hashes:
        digest.update(row)
    return digest.hexdigest()


def split_hash(examples: Iterable[FimExample]) -> str:
    """Return the hash of a split's rows, in order, whatever file format holds them."""
    return hash_of_rows(map(row_hash, examples))


def write_corpus(
    out: Path,
    *,
    manifest: Mapping[str, object],
    train: Sequence[FimExample],
    held_out: Sequence[FimExample],
) -> None:
    """Write a small built set to a folder, replacing an earlier built set there.

    Raises:
        OutputError: The folder holds something else, or cannot be written.
    """
    with replacing_set(out) as work:
        for name, rows in ((TRAIN, train), (HELD_OUT, held_out)):
            write_shard(shard_path(work.fresh, name, 0), rows)
        write_manifest(work.fresh, manifest)


def write_manifest(folder: Path, manifest: Mapping[str, object]) -> None:
    """Write the manifest of a set, its last file."""
    text = json.dumps(manifest, indent=2, sort_keys=True, ensure_ascii=False)
    (folder / MANIFEST_FILE).write_text(text + "\n", encoding="utf-8")


def shard_path(folder: Path, split: str, number: int) -> Path:
    """Return the place of a shard; its folder is made."""
    (folder / split).mkdir(exist_ok=True)
    return folder / split / f"part-{number:05d}.parquet"


def write_shard(path: Path, rows: Iterable[FimExample]) -> int:
    """Write rows to one parquet file and return how many; few of them are in memory at a time."""
    import pyarrow.parquet as pq

    schema = example_schema()
    num_rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
        for group in _row_groups(rows):
            writer.write_table(table_of(group, schema))
            num_rows += len(group)
        if num_rows == 0:
            writer.write_table(table_of((), schema))
    return num_rows


def _row_groups(rows: Iterable[FimExample]) -> Iterator[Sequence[FimExample]]:
    group: list[FimExample] = []
    room = _ROW_GROUP_CHARS
    for row in rows:
        group.append(row)
        room -= len(row.prefix) + len(row.middle) + len(row.suffix)
        if len(group) == _ROW_GROUP_ROWS or room <= 0:
            yield group
            group, room = [], _ROW_GROUP_CHARS
    if group:
        yield group


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


@dataclass(frozen=True, slots=True)
class WorkFolder:
    """A hidden folder beside the output, gone when the work ends, however it ends.

    Args:
        path: The folder itself, for what is needed while building.
        fresh: Where the new set is written.
    """

    path: Path
    fresh: Path


@contextmanager
def replacing_set(out: Path) -> Iterator[WorkFolder]:
    """Give a folder to write a set to, which takes the place of ``out`` only when all went well.

    What a killed build left beside ``out`` is cleared away first, and a set that it had moved
    aside comes back.

    Raises:
        OutputError: The place holds something else, or cannot be written.
    """
    require_writable(out)
    try:
        with _replacing(out) as work:
            yield work
    except OSError as error:
        raise OutputError(
            f"{out} cannot be written ({error.strerror or error}), so the built set was not kept; "
            "nothing half-written is left",
            hint="free some space there, or give another folder with --out",
        ) from error


@contextmanager
def _replacing(out: Path) -> Iterator[WorkFolder]:
    target = out.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(target)
    work = Path(tempfile.mkdtemp(prefix=f".{target.name}.{os.getpid()}-", dir=target.parent))
    lock = FileLock(work / _LOCK_FILE)
    lock.acquire()
    fresh, old = work / _FRESH, work / _OLD
    try:
        fresh.mkdir()
        yield WorkFolder(work, fresh)
        if target.exists():
            target.replace(old)
        fresh.replace(target)
    finally:
        if old.exists() and not target.exists():
            old.replace(target)
        lock.release()
        shutil.rmtree(work, ignore_errors=True)


def _clear_abandoned(target: Path) -> None:
    for folder in sorted(target.parent.glob(f".{target.name}.*")):
        lock = folder / _LOCK_FILE
        if not lock.is_file():
            if _has_no_owner(folder):
                with suppress(OSError):
                    folder.rmdir()
            continue
        with suppress(Timeout), FileLock(lock, timeout=0):
            if (folder / _OLD).exists() and not target.exists():
                (folder / _OLD).replace(target)
            shutil.rmtree(folder, ignore_errors=True)


def _has_no_owner(folder: Path) -> bool:
    """Tell whether the process that made a work folder, and not yet its lock, is gone."""
    number = folder.name.rpartition(".")[2].partition("-")[0]
    if os.name != "posix" or not number.isdigit():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def read_rows(folder: Path, split: str) -> tuple[FimExample, ...]:
    """Return the rows of one side of a built set, in order, all in memory.

    Raises:
        SourceNotFoundError: The side has no readable parquet file.
    """
    return tuple(iterate_rows(folder, split))


def iterate_rows(folder: Path, split: str) -> Iterator[FimExample]:
    """Yield the rows of one side of a built set, in order.

    Raises:
        SourceNotFoundError: The side has no readable parquet file.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = sorted((folder / split).glob("*.parquet"))
    if not paths:
        raise SourceNotFoundError(
            f"{folder / split} holds no parquet file, so it is no side of a built set",
            hint=f"fim data build PATH... {command_of('--out', folder)}",
        )
    try:
        for path in paths:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(_BATCH_ROWS, columns=[*TEXT_COLUMNS, "context"]):
                    for row in batch.to_pylist():
                        items = row.pop("context") or ()
                        context = tuple(ContextItem(**item) for item in items)
                        yield FimExample(**row, context=context)
    except (OSError, pa.ArrowException) as error:
        raise SourceNotFoundError(
            f"{folder / split} cannot be read: {error}; a part of the set is missing",
            hint=f"fim data build PATH... {command_of('--out', folder)}",
        ) from error
