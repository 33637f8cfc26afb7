"""Do one kind of work on many items with some processes, answers in the order of the items."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from fim.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

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


def num_processes(wanted: int, num_items: int) -> int:
    """Return how many processes pay for so many items.

    Args:
        wanted: Most processes; 0 takes every core that this process may use.
        num_items: Items to work on; each process wants 128 at least.
    """
    if wanted == 0:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        wanted = cores or 1
    return max(1, min(wanted, num_items // MIN_ITEMS_PER_PROCESS))


def run_job(
    job: Job[Item, Answer],
    items: Iterable[Item],
    *,
    processes: int,
    chunk_items: int = CHUNK_ITEMS,
) -> Iterator[Answer]:
    """Yield an answer for each item, in order, whatever the number of processes.

    Only a few chunks are in flight at a time, so memory does not grow with the number of items.

    Args:
        job: The work; with more than one process it is copied to each.
        items: What to work on.
        processes: 1 works in this process.
        chunk_items: Items that travel together.

    Raises:
        SetupError: A process died.
    """
    chunks = _chunks(items, chunk_items)
    if processes <= 1:
        yield from _run_here(job, chunks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(processes, context, initializer=partial(_start, job))
    try:
        yield from _run_there(pool, chunks, processes * _CHUNKS_IN_FLIGHT)
    except BrokenProcessPool as error:
        raise SetupError(
            f"one of {processes} processes died ({error}); the set was not written, "
            "what was done so far is kept in the cache",
            hint="run it again with --set corpus.processes=1; "
            'a script that builds needs if __name__ == "__main__":',
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _run_here(job: Job[Item, Answer], chunks: Iterable[Sequence[Item]]) -> Iterator[Answer]:
    worker = job.open()
    try:
        for chunk in chunks:
            yield from worker.work(chunk)
    finally:
        worker.close()


def _run_there(
    pool: ProcessPoolExecutor, chunks: Iterator[Sequence[Item]], num_in_flight: int
) -> Iterator[Answer]:
    work: Callable[[Sequence[Item]], Sequence[Answer]] = _work
    waiting: deque[Future[Sequence[Answer]]] = deque()
    for chunk in islice(chunks, num_in_flight):
        waiting.append(pool.submit(work, chunk))
    while waiting:
        answers = waiting.popleft().result()
        for chunk in islice(chunks, 1):
            waiting.append(pool.submit(work, chunk))
        yield from answers


def _chunks(items: Iterable[Item], size: int) -> Iterator[Sequence[Item]]:
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


class _Here:
    """The worker of this process, opened when the process starts."""

    worker: Worker[Any, Any] | None = None


def _start(job: Job[Item, Answer]) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_leave_with, args=(parent,), daemon=True).start()
    _Here.worker = job.open()


def _leave_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


def _work(items: Sequence[Item]) -> Sequence[Answer]:
    if _Here.worker is None:
        raise RuntimeError("the process has no job")
    answers: Sequence[Answer] = _Here.worker.work(items)
    return answers
