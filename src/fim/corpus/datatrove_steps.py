"""The per-document work as steps of a datatrove pipeline, for trees that many processes share.

datatrove takes any callable with ``(data, rank, world_size)`` as a step, so this module needs no
import of it. The steps fill the cache that ``fim data build`` reads; the build that follows finds
every answer known and does only what needs all documents at once: duplicates, sides, leaks, rows.

Example:
    ::

        from datatrove.executor import LocalPipelineExecutor
        steps = [ReadFiles(roots, settings, cache), CutHoles(settings, cache)]
        LocalPipelineExecutor(pipeline=steps, tasks=8, workers=2, logging_dir="logs").run()
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fim.config import CorpusSettings
from fim.corpus.cache import cache_file
from fim.corpus.documents import DocumentReader
from fim.corpus.parallel import work_here
from fim.corpus.selection import Selection
from fim.corpus.splits import TRAIN
from fim.corpus.study import CutJob, Placed, StudyJob


@dataclass(frozen=True, slots=True)
class ReadDocument:
    """A document that passed the gates, with the spool that holds its text."""

    placed: Placed
    spool: str


@dataclass(frozen=True, slots=True)
class ReadFiles:
    """The first step: each task reads and gates its share of the files and keeps the answers.

    Args:
        roots: Folders, repositories or single files.
        settings: Those of the build.
        cache: The build's cache folder.
        selection: Which files are read.
    """

    roots: tuple[Path, ...]
    settings: CorpusSettings
    cache: Path
    selection: Selection = field(default_factory=Selection)

    def __call__(
        self, data: Iterable[object] | None = None, rank: int = 0, world_size: int = 1
    ) -> Iterator[ReadDocument]:
        """Yield the documents of every ``world_size``-th file from ``rank`` on."""
        refs = DocumentReader(self.settings, selection=self.selection).list(self.roots)
        with tempfile.TemporaryDirectory(prefix="fim-datatrove-") as spool:
            job = StudyJob(self.settings, Path(spool), cache_file(self.cache, self.settings))
            for studied in work_here(job, refs[rank::world_size]):
                if studied.stored is not None:
                    yield ReadDocument(Placed(studied.stored, "", TRAIN), spool)


@dataclass(frozen=True, slots=True)
class CutHoles:
    """The second step: cut the holes of each document and keep them.

    Args:
        settings: Those of the build.
        cache: The build's cache folder.
    """

    settings: CorpusSettings
    cache: Path

    def __call__(
        self, data: Iterable[ReadDocument], rank: int = 0, world_size: int = 1
    ) -> Iterator[ReadDocument]:
        """Pass the documents on."""
        worker = None
        try:
            for read in data:
                if worker is None:
                    path = cache_file(self.cache, self.settings)
                    worker = CutJob(self.settings, Path(read.spool), path).open()
                worker.work([read.placed])
                yield read
        finally:
            if worker is not None:
                worker.close()
