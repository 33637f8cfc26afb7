"""Write the rows of a set shard by shard, each by one process, the same bytes by any number."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fim.corpus.context_stage import ContextTexts, RowContext
from fim.corpus.hashing import stable_hash
from fim.corpus.manifest import row_hash, shard_path, write_shard
from fim.corpus.spool import Spool, StoredDocument
from fim.types import FimExample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from fim.corpus.documents import Document
    from fim.corpus.spans import Span

SHARD_ROWS = 4096


@dataclass(frozen=True, slots=True)
class DocumentRows:
    """The holes of one document that became rows, and the context of each or nothing."""

    stored: StoredDocument
    spans: tuple[Span, ...]
    split: str
    context: RowContext = field(default_factory=RowContext)


@dataclass(frozen=True, slots=True)
class Shard:
    """The rows of one file, whole documents in order."""

    split: str
    number: int
    documents: tuple[DocumentRows, ...]


@dataclass(frozen=True, slots=True)
class WriteJob:
    """Write shards.

    Args:
        folder: The set.
        spool: Folder of the spool.
    """

    folder: Path
    spool: Path

    def open(self) -> WriteWorker:
        """Return the worker of a process."""
        return WriteWorker(self)


class WriteWorker:
    """Writes shards; one document is in memory at a time, and one group of rows."""

    def __init__(self, job: WriteJob) -> None:
        self._folder = job.folder
        self._spool = Spool(job.spool)
        self._texts = ContextTexts(self._spool)

    def work(self, items: Sequence[Shard]) -> Sequence[tuple[bytes, ...]]:
        """Write shards and return the hashes of their rows."""
        return [self._write(shard) for shard in items]

    def close(self) -> None:
        """Close the files."""
        self._spool.close()

    def _write(self, shard: Shard) -> tuple[bytes, ...]:
        hashes: list[bytes] = []
        path = shard_path(self._folder, shard.split, shard.number)
        write_shard(path, self._rows(shard, hashes))
        return tuple(hashes)

    def _rows(self, shard: Shard, hashes: list[bytes]) -> Iterator[FimExample]:
        for item in shard.documents:
            document = self._spool.load(item.stored)
            rows = make_rows(document, item.spans, item.split)
            for row in self._texts.give(rows, item.context):
                hashes.append(row_hash(row))
                yield row


def make_rows(document: Document, spans: Sequence[Span], split: str) -> tuple[FimExample, ...]:
    """Return a row for each hole; prefix, middle and suffix join to the document's text."""
    document_id = document.id
    return tuple(
        FimExample(
            prefix=document.text[: span.start],
            middle=document.text[span.start : span.end],
            suffix=document.text[span.end :],
            language=document.language,
            path=document.path,
            repo=document.repo,
            id=row_id(document_id, span),
            document_id=document_id,
            span_kind=span.kind,
            split=split,
            licence=document.licence,
        )
        for span in spans
    )


def row_id(document_id: str, span: Span) -> str:
    """Return the id of a hole."""
    return stable_hash(document_id, span.start, span.end)


def plan_shards(split: str, documents: Iterable[DocumentRows]) -> Iterator[Shard]:
    """Yield shards of at most 4096 rows, unless one document alone has more; one at least."""
    waiting: list[DocumentRows] = []
    number = num_rows = 0
    for item in documents:
        if waiting and num_rows + len(item.spans) > SHARD_ROWS:
            yield Shard(split, number, tuple(waiting))
            waiting, num_rows, number = [], 0, number + 1
        waiting.append(item)
        num_rows += len(item.spans)
    if waiting or number == 0:
        yield Shard(split, number, tuple(waiting))
