"""Find held-out text in training text: verbatim middles and runs of tokens, over many processes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fim.corpus.ngrams import NgramSearch
from fim.corpus.splits import VerbatimSearch
from fim.corpus.spool import Spool, StoredDocument

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in a document.

    Args:
        needles: Middles that stand there verbatim; each is named once in a process.
        ngrams: Sorted hashes of the runs of tokens that stood in a chunk, each named once in a
            process; with the last document of the chunk.
    """

    needles: frozenset[str]
    ngrams: Hashes | None = None


@dataclass(frozen=True, slots=True)
class LeakJob:
    """Look for held-out text in training documents.

    Args:
        needles: Middles that must not stand there verbatim.
        ngrams: Hashes of the runs of tokens that must not stand there.
        width: Tokens in a run.
        spool: Folder of the spool.
    """

    needles: tuple[str, ...]
    ngrams: Hashes
    width: int
    spool: Path

    def open(self) -> LeakWorker:
        """Return the worker of a process."""
        return LeakWorker(self)


class LeakWorker:
    """Looks for held-out text in training documents."""

    def __init__(self, job: LeakJob) -> None:
        self._verbatim = VerbatimSearch(job.needles)
        self._ngrams = NgramSearch(job.ngrams, job.width)
        self._spool = Spool(job.spool)
        self._told: set[str] = set()

    def work(self, items: Sequence[StoredDocument]) -> Sequence[Found]:
        """Return what stands in each document."""
        answers = []
        for number, stored in enumerate(items, start=1):
            text = self._spool.text(stored)
            self._verbatim.scan(text)
            self._ngrams.scan(text)
            is_last = number == len(items)
            is_new = is_last and len(self._verbatim.found) > len(self._told)
            found = frozenset(self._verbatim.found - self._told) if is_new else frozenset()
            answers.append(Found(found, self._ngrams.news() if is_last else None))
            self._told |= found
        return answers

    def close(self) -> None:
        """Close the files."""
        self._spool.close()
