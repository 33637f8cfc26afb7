"""Give context to the rows of a set: pool by pool, so that memory stays bounded."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from struct import Struct
from typing import TYPE_CHECKING

from fim.corpus.context import ContextCounts, Hole, choose_context
from fim.corpus.hashing import stable_hash
from fim.corpus.history import History
from fim.corpus.neighbours import Neighbour, Neighbourhood
from fim.corpus.splits import TRAIN
from fim.corpus.spool import Spool, StoredDocument
from fim.corpus.study import read_definitions
from fim.types import ContextItem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fim.config import CorpusSettings
    from fim.corpus.library import Library, Member, Pool
    from fim.corpus.parallel import Workforce
    from fim.corpus.shards import DocumentRows
    from fim.corpus.spans import Span
    from fim.types import FimExample, Progress

_TEXTS_KEPT = 64
_PIECE = Struct("<iiiid")


@dataclass(frozen=True, slots=True)
class RowContext:
    """The context of a document's rows, packed small: a set holds one for each document.

    Args:
        sources: The documents that pieces are of, shared by the rows of many documents.
        pieces: For each piece the row, the number of its source, its first and last character and
            its score, best first.
    """

    sources: tuple[StoredDocument, ...] = ()
    pieces: bytes = b""


@dataclass(frozen=True, slots=True)
class PoolContext:
    """The context of every hole of every document of a pool, and what was counted."""

    pieces: tuple[bytes, ...]
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

    def work(self, items: Sequence[Pool]) -> Sequence[PoolContext]:
        """Return the context of each pool's rows."""
        return [self._pool(pool) for pool in items]

    def close(self) -> None:
        """Close the files."""
        self._spool.close()

    def _pool(self, pool: Pool) -> PoolContext:
        files = [self._neighbour(member) for member in pool.members]
        neighbourhood = Neighbourhood(files)
        counts = ContextCounts()
        if pool.num_absent:
            counts.dropped["import_over_pool_room"] += pool.num_absent
        pieces = []
        for number, (member, spans) in enumerate(zip(pool.members, pool.holes, strict=True)):
            packed = bytearray()
            for row, span in enumerate(spans):
                identity = stable_hash(member.placed.stored.document.id, span.start, span.end)
                hole = Hole(identity, files[number].text, span.start, span.end)
                target = neighbourhood.target(number, (span.start, span.end))
                picks = choose_context(hole, target, neighbourhood, self._settings, counts)
                for pick in picks:
                    piece = pick.candidate
                    packed += _PIECE.pack(row, piece.number, piece.start, piece.end, pick.score)
            pieces.append(bytes(packed))
        return PoolContext(tuple(pieces), counts)

    def _neighbour(self, member: Member) -> Neighbour:
        stored = member.placed.stored
        return Neighbour(
            repo=stored.document.repo,
            path=stored.document.path,
            language=stored.document.language,
            text=self._spool.text(stored),
            group=member.placed.group,
            trains=member.placed.split == TRAIN,
            definitions=read_definitions(self._spool, member.facts),
            links=member.links,
            history=stored.history or History(),
        )


def find_context(
    library: Library,
    holes: Mapping[str, tuple[Span, ...]],
    *,
    settings: CorpusSettings,
    spool: Path,
    workforce: Workforce,
    processes: int,
    progress: Progress | None = None,
) -> tuple[Mapping[str, RowContext], ContextCounts]:
    """Return the context of every row by document id, and what was counted.

    Documents are pooled by repository and path and see their own pool with its guests alone; a
    process holds one pool at a time. The answer does not depend on the processes.

    Args:
        library: The documents that may be context.
        holes: The holes that became rows, by document id.
        settings: Number of items, budget and shares.
        spool: Folder of the spool.
        workforce: Does the work.
        processes: Most processes.
        progress: Told of every pool.

    Raises:
        SetupError: A process died.
    """
    pools = tuple(library.pools(holes))
    counts = ContextCounts()
    found: dict[str, RowContext] = {}
    if progress is not None:
        progress.start("finding context", len(pools))
    job = ContextJob(settings, spool)
    most = min(processes, len(pools))
    answers = workforce.run(job, pools, processes=most, chunk_items=1)
    for number, (pool, answer) in enumerate(zip(pools, answers, strict=True), start=1):
        counts.add(answer.counts)
        sources = tuple(member.placed.stored for member in pool.members)
        for stored, pieces in zip(sources, answer.pieces, strict=True):
            if pieces:
                found[stored.document.id] = RowContext(sources, pieces)
        if progress is not None:
            progress.advance(number, rows=counts.rows["with_context"])
    if progress is not None:
        progress.finish(f"{counts.rows['with_context']} rows have context")
    return found, counts


def rows_with_context(
    rows: Mapping[str, Sequence[DocumentRows]],
    library: Library,
    *,
    settings: CorpusSettings,
    spool: Path,
    workforce: Workforce,
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
        library,
        holes,
        settings=settings,
        spool=spool,
        workforce=workforce,
        processes=processes,
        progress=progress,
    )
    return {
        split: tuple(
            replace(item, context=found.get(item.stored.document.id, RowContext()))
            for item in items
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
        items: dict[int, list[ContextItem]] = defaultdict(list)
        for row, source, start, end, score in _PIECE.iter_unpack(context.pieces):
            stored = context.sources[source]
            text = self._text(stored)[start:end]
            items[row].append(ContextItem(text=text, path=stored.document.path, score=score))
        for number, bare in enumerate(rows):
            yield replace(bare, context=tuple(items[number])) if number in items else bare

    def _text(self, stored: StoredDocument) -> str:
        key = (stored.file, stored.offset)
        if key not in self._texts:
            self._texts[key] = self._spool.text(stored)
            if len(self._texts) > _TEXTS_KEPT:
                self._texts.popitem(last=False)
        self._texts.move_to_end(key)
        return self._texts[key]
