"""Give context to the rows of a set: pool by pool, so that memory stays bounded."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fim.corpus.context import ContextCounts, Hole, Pick, choose_context
from fim.corpus.hashing import stable_hash
from fim.corpus.neighbours import Neighbour, Neighbourhood, document_facts
from fim.corpus.parallel import run_job
from fim.corpus.splits import TRAIN
from fim.corpus.spool import Spool, StoredDocument
from fim.corpus.syntax import Grammars
from fim.types import ContextItem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fim.config import CorpusSettings
    from fim.corpus.shards import DocumentRows
    from fim.corpus.spans import Span
    from fim.corpus.study import Placed
    from fim.types import FimExample, Progress

POOL_BYTES = 16_000_000
_TEXTS_KEPT = 64


@dataclass(frozen=True, slots=True)
class ContextRef:
    """A piece of a stored document that a row gets as context.

    Args:
        stored: The document.
        start: Where the piece begins (characters).
        end: Where it ends (characters).
        score: Relevance, higher is better.
    """

    stored: StoredDocument
    start: int
    end: int
    score: float


RowContext = tuple[tuple[ContextRef, ...], ...]


@dataclass(frozen=True, slots=True)
class Pool:
    """Documents that may be context of one another, and the holes of each that became rows."""

    documents: tuple[Placed, ...]
    holes: tuple[tuple[Span, ...], ...]


@dataclass(frozen=True, slots=True)
class PoolContext:
    """The context of every hole of every document of a pool, and what was counted."""

    context: tuple[RowContext, ...]
    counts: ContextCounts


@dataclass(frozen=True, slots=True)
class ContextJob:
    """Find context.

    Args:
        settings: Number of items, budget and shares.
        spool: Folder of the spool.
    """

    settings: CorpusSettings
    spool: Path

    def open(self) -> ContextWorker:
        """Return the worker of a process."""
        return ContextWorker(self)


class ContextWorker:
    """Finds context; the texts of one pool are in memory at a time."""

    def __init__(self, job: ContextJob) -> None:
        self._settings = job.settings
        self._spool = Spool(job.spool)
        self._grammars = Grammars()

    def work(self, items: Sequence[Pool]) -> Sequence[PoolContext]:
        """Return the context of each pool's rows."""
        return [self._pool(pool) for pool in items]

    def close(self) -> None:
        """Close the files."""
        self._spool.close()

    def _pool(self, pool: Pool) -> PoolContext:
        files = [
            Neighbour(
                repo=item.stored.document.repo,
                path=item.stored.document.path,
                language=item.stored.document.language,
                text=self._spool.text(item.stored),
                group=item.group,
                trains=item.split == TRAIN,
            )
            for item in pool.documents
        ]
        facts = [document_facts(file.text, file.language, self._grammars) for file in files]
        neighbourhood = Neighbourhood(files, facts)
        counts = ContextCounts()
        context = []
        for number, (item, spans) in enumerate(zip(pool.documents, pool.holes, strict=True)):
            rows = []
            for span in spans:
                identity = stable_hash(item.stored.document.id, span.start, span.end)
                hole = Hole(identity, files[number].text, span.start, span.end)
                target = neighbourhood.target(number, (span.start, span.end))
                picks = choose_context(hole, target, neighbourhood, self._settings, counts)
                rows.append(tuple(_reference(pool, pick) for pick in picks))
            context.append(tuple(rows))
        return PoolContext(tuple(context), counts)


def find_context(
    documents: Sequence[Placed],
    holes: Mapping[str, tuple[Span, ...]],
    *,
    settings: CorpusSettings,
    spool: Path,
    processes: int,
    progress: Progress | None = None,
) -> tuple[Mapping[str, RowContext], ContextCounts]:
    """Return the context of every row by document id, and what was counted.

    Documents are pooled by repository and path, 16 MB of text together, and see their own pool
    alone; a process holds one pool at a time. The answer does not depend on the processes.

    Args:
        documents: Every document of both sides that gave holes.
        holes: The holes that became rows, by document id.
        settings: Number of items, budget and shares.
        spool: Folder of the spool.
        processes: Most processes.
        progress: Told of every pool.

    Raises:
        SetupError: A process died.
    """
    pools = tuple(_pools(documents, holes))
    counts = ContextCounts()
    found: dict[str, RowContext] = {}
    if progress is not None:
        progress.start("finding context", len(pools))
    job = ContextJob(settings, spool)
    answers = run_job(job, pools, processes=min(processes, len(pools)), chunk_items=1)
    for number, (pool, answer) in enumerate(zip(pools, answers, strict=True), start=1):
        counts.add(answer.counts)
        for item, context in zip(pool.documents, answer.context, strict=True):
            if any(context):
                found[item.stored.document.id] = context
        if progress is not None:
            progress.advance(number, rows=counts.rows["with_context"])
    if progress is not None:
        progress.finish(f"{counts.rows['with_context']} rows have context")
    return found, counts


def rows_with_context(
    rows: Mapping[str, Sequence[DocumentRows]],
    documents: Sequence[Placed],
    *,
    settings: CorpusSettings,
    spool: Path,
    processes: int,
    progress: Progress | None = None,
) -> tuple[Mapping[str, tuple[DocumentRows, ...]], ContextCounts]:
    """Return the rows of each side with their context, and what was counted.

    Raises:
        SetupError: A process died.
    """
    if settings.context_items == 0:
        return {split: tuple(items) for split, items in rows.items()}, ContextCounts()
    holes = {item.stored.document.id: item.spans for items in rows.values() for item in items}
    found, counts = find_context(
        documents, holes, settings=settings, spool=spool, processes=processes, progress=progress
    )
    return {
        split: tuple(
            replace(item, context=found.get(item.stored.document.id, ())) for item in items
        )
        for split, items in rows.items()
    }, counts


class ContextTexts:
    """Reads the text of context from a spool; the last documents read stay in memory."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._texts: OrderedDict[tuple[str, int], str] = OrderedDict()

    def give(self, rows: Sequence[FimExample], context: RowContext) -> Iterator[FimExample]:
        """Yield rows with their context; all of them bare where there is none."""
        for row, references in zip(rows, context or ((),) * len(rows), strict=True):
            items = tuple(
                ContextItem(
                    text=self._text(reference.stored)[reference.start : reference.end],
                    path=reference.stored.document.path,
                    score=reference.score,
                )
                for reference in references
            )
            yield replace(row, context=items) if items else row

    def _text(self, stored: StoredDocument) -> str:
        key = (stored.file, stored.offset)
        if key not in self._texts:
            self._texts[key] = self._spool.text(stored)
            if len(self._texts) > _TEXTS_KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(key)
        return self._texts[key]


def _pools(documents: Sequence[Placed], holes: Mapping[str, tuple[Span, ...]]) -> Iterator[Pool]:
    waiting: list[Placed] = []
    num_bytes = 0
    for item in sorted(documents, key=lambda item: (item.stored.key, item.stored.document.id)):
        if waiting and num_bytes + item.stored.num_bytes > POOL_BYTES:
            yield _pool(waiting, holes)
            waiting, num_bytes = [], 0
        waiting.append(item)
        num_bytes += item.stored.num_bytes
    if waiting:
        yield _pool(waiting, holes)


def _pool(documents: Sequence[Placed], holes: Mapping[str, tuple[Span, ...]]) -> Pool:
    spans = tuple(holes.get(item.stored.document.id, ()) for item in documents)
    return Pool(tuple(documents), spans)


def _reference(pool: Pool, pick: Pick) -> ContextRef:
    piece = pick.candidate
    return ContextRef(pool.documents[piece.number].stored, piece.start, piece.end, pick.score)
