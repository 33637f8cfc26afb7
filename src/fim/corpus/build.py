"""Build a data set from repositories: read, deduplicate, split by group, cut holes, write.

No text is held in memory: each document's text lies once in a spool file beside the output, and
what is kept of a document is its place, its MinHash signature and the offsets of its holes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fim.corpus.accounts import corpus_manifest
from fim.corpus.cache import usable_cache
from fim.corpus.card import write_card
from fim.corpus.context import ContextCounts
from fim.corpus.context_stage import rows_with_context
from fim.corpus.dedup import NUM_PERMUTATIONS, group_signatures
from fim.corpus.documents import DocumentReader
from fim.corpus.leaks import LeakJob
from fim.corpus.library import Library, module_table
from fim.corpus.listing import FileRef
from fim.corpus.manifest import (
    WorkFolder,
    hash_of_rows,
    iterate_rows,
    replacing_set,
    write_manifest,
)
from fim.corpus.ngrams import all_ngrams
from fim.corpus.parallel import CHUNK_ITEMS, Job, Workforce, most_processes, num_processes
from fim.corpus.reasons import DropReason, Tally, nothing_made
from fim.corpus.selection import Selection, make_selection
from fim.corpus.shards import DocumentRows, WriteJob, plan_shards
from fim.corpus.sides import choose_sides
from fim.corpus.splits import HELD_OUT, TRAIN, leak_needle
from fim.corpus.spool import Spool, StoredDocument
from fim.corpus.study import CutJob, Placed, StudyJob
from fim.corpus.thinning import CutDocument, RepeatFilter, sub_sample, without_leaks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fim.config import CorpusSettings
    from fim.corpus.notices import Notice
    from fim.types import FimExample, Progress

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class BuiltCorpus:
    """A data set on disk.

    Args:
        out: The folder that was written.
        manifest: What went in, what came out and why the rest was dropped.
        num_known: Answers that the cache had, of the files read and of the documents cut.
        notices: What is to be said besides the counts.
    """

    out: Path
    manifest: Mapping[str, object]
    num_known: Mapping[str, int] = field(default_factory=dict)
    notices: Sequence[Notice] = ()

    @property
    def train(self) -> tuple[FimExample, ...]:
        """Rows to train on, read from disk, all in memory."""
        return tuple(iterate_rows(self.out, TRAIN))

    @property
    def held_out(self) -> tuple[FimExample, ...]:
        """Rows to measure on, of other files, read from disk, all in memory."""
        return tuple(iterate_rows(self.out, HELD_OUT))


def build_corpus(
    roots: Sequence[Path],
    *,
    settings: CorpusSettings,
    out: Path,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    revision: str | None = None,
    max_train_holes: int | None = None,
    max_held_out_holes: int | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> BuiltCorpus:
    """Build and write a fill-in-the-middle data set from folders and git repositories.

    The same inputs, settings and versions give the same bytes, whatever the number of processes
    and whatever the cache holds. No held-out middle of 40 characters or more stands verbatim in the
    text of a training file, none shares a run of 13 tokens with it, and near-identical files share
    a side. Memory grows with the number of files and not with their size.

    Args:
        roots: Folders, repositories or single files.
        settings: Limits, mixture sizes, split, processes and seed.
        out: Folder to write; an earlier built set there is replaced.
        include: Patterns in the syntax of ``.gitignore``; none takes every file.
        exclude: Patterns of files to leave out, relative to each root.
        revision: Commit to read in place of HEAD.
        max_train_holes: Keep at most this many training rows, chosen by seed.
        max_held_out_holes: Keep at most this many held-out rows, chosen by seed.
        cache: Folder that keeps what is found out about files; None keeps nothing.
        progress: Told of every stage.

    Raises:
        SourceNotFoundError: A root is missing, or git cannot read it at the commit asked for.
        EmptyDatasetError: No file passed the gates, or none gave a hole.
        InvalidSettingError: The split lacks what it needs, or leaves a side empty.
        ConflictingSettingsError: Settings that exclude each other.
        SetupError: A process died.
        OutputError: The folder holds something else, or cannot be written.
    """
    selection = make_selection(
        settings, include=include, exclude=exclude, revision=revision, skip=out
    )
    limits = {TRAIN: max_train_holes, HELD_OUT: max_held_out_holes}
    with replacing_set(out) as work:
        build = CorpusBuild(settings, selection, work.path, cache=cache, progress=progress)
        with closing(build):
            rows = build.rows(roots, limits)
            manifest = _write(build, work, rows, limits)
    return BuiltCorpus(out, manifest, dict(build.num_known), build.notices)


class CorpusBuild:
    """The stages of a build, each of which tells what it dropped.

    Args:
        settings: Limits, mixture sizes, split, processes and seed.
        selection: Which files are read.
        work: Folder for the spool.
        cache: Folder that keeps what is found out about files; None keeps nothing.
        progress: Told of every stage.
        on_drop: Told of every file dropped: its place and why.
    """

    def __init__(
        self,
        settings: CorpusSettings,
        selection: Selection,
        work: Path,
        *,
        cache: Path | None = None,
        progress: Progress | None = None,
        on_drop: Callable[[str, str], None] | None = None,
    ) -> None:
        self.settings = settings
        self.selection = selection
        self.reader = DocumentReader(settings, selection=selection, on_drop=on_drop)
        self.holes = Tally()
        self.placed: tuple[Placed, ...] = ()
        self.repeated: list[Placed] = []
        self.context = ContextCounts()
        self.num_known: Counter[str] = Counter()
        self.library = Library()
        self._work = work
        self._cache, self._cache_notices = usable_cache(cache, settings)
        self._progress = progress
        self._spool = Spool(work)
        self._workforce = Workforce(work, most_processes(settings.processes))

    def close(self) -> None:
        """Close the files and end the processes."""
        self._spool.close()
        self._workforce.close()

    @property
    def notices(self) -> tuple[Notice, ...]:
        """What is to be said besides the counts, of the roots and of the cache."""
        return (*self.reader.notices, *self._cache_notices)

    @property
    def num_processes(self) -> int:
        """How many processes pay for the documents that gave holes."""
        return num_processes(self.settings.processes, len(self.placed))

    def rows(
        self, roots: Sequence[Path], limits: Mapping[str, int | None]
    ) -> Mapping[str, tuple[DocumentRows, ...]]:
        """Return the documents of each side with the holes that become rows.

        Raises:
            EmptyDatasetError: No file passed the gates, or none gave a hole.
        """
        cut = self._cut(self._place(*self._read(roots)))
        self.placed = tuple(item.placed for item in cut)
        if not cut:
            raise nothing_made(roots, self.reader.tally, self.reader.notices)
        return self._with_context(self._thin(cut, limits))

    def run(
        self,
        job: Job[Item, Answer],
        items: Sequence[Item],
        stage: str,
        *,
        processes: int | None = None,
        chunk_items: int = CHUNK_ITEMS,
    ) -> Iterator[Answer]:
        """Yield an answer for each item, with progress.

        Args:
            job: The work.
            items: What to work on.
            stage: Name of the stage.
            processes: Most processes; None takes as many as pay for so many files.
            chunk_items: Items that travel together.

        Raises:
            SetupError: A process died.
        """
        if processes is None:
            processes = num_processes(self.settings.processes, len(items))
        if self._progress is not None:
            self._progress.start(stage, len(items))
        answers = self._workforce.run(job, items, processes=processes, chunk_items=chunk_items)
        for number, answer in enumerate(answers, start=1):
            yield answer
            if self._progress is not None:
                self._progress.advance(number)
        if self._progress is not None:
            self._progress.finish()

    def _read(self, roots: Sequence[Path]) -> tuple[tuple[StoredDocument, ...], NDArray[np.uint64]]:
        import numpy as np

        refs: Sequence[FileRef] = self.reader.list(roots)
        job = StudyJob(self.settings, self._work, self._cache)
        seen: set[str] = set()
        kept: list[StoredDocument] = []
        sketches = bytearray()
        for ref, studied in zip(refs, self.run(job, refs, "reading files"), strict=True):
            self.num_known["files"] += studied.is_known
            if studied.stored is None:
                self.reader.drop(ref.key, str(studied.reason))
            elif studied.normalised in seen:
                self.reader.drop(ref.key, DropReason.EXACT_DUPLICATE)
            else:
                seen.add(studied.normalised)
                kept.append(studied.stored)
                sketches += studied.signature
        table = np.frombuffer(sketches, dtype=np.uint64).reshape(-1, NUM_PERMUTATIONS)
        return tuple(kept), table

    def _place(
        self, stored: Sequence[StoredDocument], signatures: NDArray[np.uint64]
    ) -> tuple[Placed, ...]:
        if not stored:
            return ()
        leaders = group_signatures(
            signatures,
            lambda index: self._spool.text(stored[index]),
            self.settings.near_duplicate_threshold,
        )
        sides = choose_sides(stored, leaders, self.settings)
        placed, first = [], dict[tuple[int, str], int]()
        for index, (item, leader, split, reason) in enumerate(
            zip(stored, sides.leaders, sides.splits, sides.reasons, strict=True)
        ):
            found = Placed(item, stored[leader].document.id, split)
            if reason is not None:
                self.reader.drop(item.key, reason)
            elif item.lines is None and first.setdefault((leader, split), index) != index:
                self.repeated.append(found)
                self.reader.drop(item.key, DropReason.NEAR_DUPLICATE)
            else:
                placed.append(found)
        return tuple(placed)

    def _cut(self, placed: Sequence[Placed]) -> tuple[CutDocument, ...]:
        job = CutJob(self.settings, self._work, self._cache)
        repeats = RepeatFilter(self.holes)
        modules = module_table(placed)
        used = []
        answers = self.run(job, placed, "cutting holes")
        for number, (item, cut) in enumerate(zip(placed, answers, strict=True)):
            self.library.add(number, item, cut, modules)
            self.num_known["documents"] += cut.is_known
            self.holes.see(len(cut.spans))
            if cut.spans:
                used.append(repeats.document(item, cut))
            else:
                self.reader.drop(item.stored.key, cut.reason or DropReason.NO_HOLES)
        return tuple(used)

    def _thin(
        self, cut: Sequence[CutDocument], limits: Mapping[str, int | None]
    ) -> Mapping[str, tuple[DocumentRows, ...]]:
        sides = {
            split: tuple(item for item in cut if item.placed.split == split) for split in limits
        }
        sides[HELD_OUT] = self._without_leaks(sides[HELD_OUT], cut)
        seed = self.settings.seed
        return {
            split: tuple(
                item.rows()
                for item in sub_sample(sides[split], limits[split], seed=seed, tally=self.holes)
                if item.spans
            )
            for split in (TRAIN, HELD_OUT)
        }

    def _with_context(
        self, rows: Mapping[str, tuple[DocumentRows, ...]]
    ) -> Mapping[str, tuple[DocumentRows, ...]]:
        given, self.context = rows_with_context(
            rows,
            self.library,
            settings=self.settings,
            spool=self._work,
            workforce=self._workforce,
            processes=self.num_processes,
            progress=self._progress,
        )
        return given

    def _without_leaks(
        self, held_out: Sequence[CutDocument], cut: Sequence[CutDocument]
    ) -> tuple[CutDocument, ...]:
        import numpy as np

        width = self.settings.leak_ngram_tokens
        middles = [middle for item in held_out for middle in item.middles]
        job = LeakJob(
            needles=tuple(sorted({leak_needle(middle) for middle in middles})),
            ngrams=all_ngrams(middles, width) if width else np.zeros(0, dtype=np.uint64),
            width=max(width, 1),
            spool=self._work,
        )
        needles: set[str] = set()
        ngrams = [np.zeros(0, dtype=np.uint64)]
        for found in self.run(job, self._training_texts(cut), "looking for leaks"):
            needles |= found.needles
            if found.ngrams is not None:
                ngrams.append(found.ngrams)
        runs = np.unique(np.concatenate(ngrams))
        return without_leaks(held_out, needles=needles, ngrams=runs, width=width, tally=self.holes)

    def _training_texts(self, cut: Sequence[CutDocument]) -> Sequence[StoredDocument]:
        """Return what training rows may hold: their own documents, and those shown as context."""
        placed = [*(item.placed for item in cut), *(item.placed for item in self.library.members)]
        found = {item.stored.document.id: item.stored for item in placed if item.split == TRAIN}
        return tuple(found.values())


def _write(
    build: CorpusBuild,
    work: WorkFolder,
    rows: Mapping[str, Sequence[DocumentRows]],
    limits: Mapping[str, int | None],
) -> Mapping[str, object]:
    hashes = {
        split: _write_side(build, work, split, documents) for split, documents in rows.items()
    }
    manifest = corpus_manifest(build, rows, hashes, limits)
    write_card(work.fresh, manifest)
    write_manifest(work.fresh, manifest)
    return manifest


def _write_side(
    build: CorpusBuild, work: WorkFolder, split: str, documents: Iterable[DocumentRows]
) -> str:
    shards = tuple(plan_shards(split, documents))
    job = WriteJob(work.fresh, work.path)
    processes = min(build.num_processes, len(shards))
    written = build.run(job, shards, f"writing {split}", processes=processes, chunk_items=1)
    return hash_of_rows(row for shard in written for row in shard)
