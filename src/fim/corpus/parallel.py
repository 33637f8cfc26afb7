"""Do one kind of work on many items with some processes, answers in the order of the items."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fim.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Item_contra = TypeVar("Item_contra", contravariant=True)
Answer_co = TypeVar("Answer_co", covariant=True)

MIN_ITEMS_PER_PROCESS = 128
CHUNK_ITEMS = 16
_CHUNKS_IN_FLIGHT = 4


class Worker(Protocol[Item_contra, Answer_co]):
    """What one process keeps open while it works."""

    def work(self, items: Sequence[Item_contra]) -> Sequence[Answer_co]:
        """Return an answer for each item."""
        ...

    def close(self) -> None:
        """Close what was kept open."""
        ...


class Job(Protocol[Item_contra, Answer_co]):
    """A kind of work, small enough to be handed to another process."""

    def open(self) -> Worker[Item_contra, Answer_co]:
        """Return the worker of a process."""
        ...


def most_processes(wanted: int) -> int:
    """Return how many processes there may be: 0 takes every core that this process may use."""
    if wanted:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return cores or 1


def num_processes(wanted: int, num_items: int) -> int:
    """Return how many processes pay for so many items.

    Args:
        wanted: Most processes; 0 takes every core that this process may use.
        num_items: Items to work on; each process wants 128 at least.
    """
    return max(1, min(most_processes(wanted), num_items // MIN_ITEMS_PER_PROCESS))


class Workforce:
    """Processes that do one job after another; none starts before two or more are asked for.

    Args:
        folder: Where jobs are handed over, in files.
        most: Most processes.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._pool: ProcessPoolExecutor | None = None
        self._num_jobs = 0

    def run(
        self,
        job: Job[Item, Answer],
        items: Iterable[Item],
        *,
        processes: int,
        chunk_items: int = CHUNK_ITEMS,
    ) -> Iterator[Answer]:
        """Yield an answer for each item, in order, whatever the number of processes.

        Only a few chunks are in flight at a time, so memory does not grow with the number of items.

        Args:
            job: The work; each process gets a copy.
            items: What to work on.
            processes: 1 works in this process, more in those of the workforce.
            chunk_items: Items that travel together.

        Raises:
            SetupError: A process died.
        """
        if processes <= 1:
            yield from work_here(job, items, chunk_items=chunk_items)
            return
        self._num_jobs += 1
        path = self._folder / f"job-{self._num_jobs}.pickle"
        path.write_bytes(pickle.dumps(job))
        try:
            yield from self._work_there(path, _chunks(items, chunk_items))
        except BrokenProcessPool as error:
            raise SetupError(
                f"one of {self._most} processes died ({error}); the set was not written, "
                "what was done so far is kept in the cache",
                hint="run it again with --set corpus.processes=1; "
                'a script that builds needs if __name__ == "__main__":',
            ) from error

    def close(self) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool = None

    def _work_there(self, path: Path, chunks: Iterator[Sequence[Item]]) -> Iterator[Any]:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._most, context, initializer=_leave_with_parent)
        waiting: deque[Future[Sequence[Any]]] = deque()
        for chunk in islice(chunks, self._most * _CHUNKS_IN_FLIGHT):
            waiting.append(self._pool.submit(_work, path, chunk))
        while waiting:
            answers = waiting.popleft().result()
            for chunk in islice(chunks, 1):
                waiting.append(self._pool.submit(_work, path, chunk))
            yield from answers


def work_here(
    job: Job[Item, Answer], items: Iterable[Item], *, chunk_items: int = CHUNK_ITEMS
) -> Iterator[Answer]:
    """Yield an answer for each item, in order, all worked out in this process."""
    worker = job.open()
    try:
        for chunk in _chunks(items, chunk_items):
            yield from worker.work(chunk)
    finally:
        worker.close()


def _chunks(items: Iterable[Item], size: int) -> Iterator[Sequence[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class _Here:
    """The job that this process works on, opened when its first items come."""

    path: Path | None = None
    worker: Worker[Any, Any] | None = None


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()


def _leave_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _work(path: Path, items: Sequence[Item]) -> Sequence[Any]:
    if _Here.path != path or _Here.worker is None:
        if _Here.worker is not None:
            _Here.worker.close()
        _Here.worker = pickle.loads(path.read_bytes()).open()  # noqa: S301
        _Here.path = path
    return _Here.worker.work(items)
