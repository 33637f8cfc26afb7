"""Work is handed over in order, and a process goes from one job to the next."""

from __future__ import annotations

import os
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from fim.corpus import parallel
from fim.corpus.parallel import Workforce, most_processes, num_processes, work_here
from fim.errors import SetupError

EVENTS: list[str] = []


@dataclass(frozen=True, slots=True)
class Adding:
    """A job that adds a number."""

    number: int

    def open(self) -> AddingWorker:
        EVENTS.append(f"open {self.number}")
        return AddingWorker(self.number)


@dataclass(slots=True)
class AddingWorker:
    number: int
    sizes: list[int] = field(default_factory=list)

    def work(self, items: Sequence[int]) -> Sequence[int]:
        self.sizes.append(len(items))
        return [item + self.number for item in items]

    def close(self) -> None:
        EVENTS.append(f"close {self.number} {self.sizes}")


@pytest.fixture(autouse=True)
def _no_events(monkeypatch: pytest.MonkeyPatch) -> None:
    EVENTS.clear()
    monkeypatch.setattr(parallel._Here, "path", None)
    monkeypatch.setattr(parallel._Here, "worker", None)


def test_answers_come_in_order_by_chunks(tmp_path: Path) -> None:
    assert list(work_here(Adding(1), range(5), chunk_items=2)) == [1, 2, 3, 4, 5]
    assert EVENTS == ["open 1", "close 1 [2, 2, 1]"]
    workforce = Workforce(tmp_path, 4)
    assert list(workforce.run(Adding(3), range(3), processes=1)) == [3, 4, 5]
    workforce.close()
    assert list(tmp_path.iterdir()) == []


def test_a_process_closes_one_job_before_the_next(tmp_path: Path) -> None:
    paths = [tmp_path / f"job-{number}" for number in (1, 2)]
    for number, path in enumerate(paths, start=1):
        path.write_bytes(pickle.dumps(Adding(number)))
    assert [*parallel._work(paths[0], [1, 2]), *parallel._work(paths[0], [3])] == [2, 3, 4]
    assert list(parallel._work(paths[1], [1])) == [3]
    assert EVENTS == ["open 1", "close 1 [2, 1]", "open 2"]


def test_few_items_pay_for_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [num_processes(4, number) for number in (0, 127, 255, 256, 10_000)] == [1, 1, 1, 2, 4]
    assert most_processes(3) == 3
    monkeypatch.setattr(parallel.os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4}, raising=False)
    assert most_processes(0) == 5


def test_a_process_that_dies_is_a_clear_error(tmp_path: Path) -> None:
    workforce = Workforce(tmp_path, 2)
    dying = SimpleNamespace(open=partial(os._exit, 3))
    with pytest.raises(SetupError, match="one of 2 processes died") as caught:
        list(workforce.run(dying, range(4), processes=2))
    workforce.close()
    assert "corpus.processes=1" in str(caught.value.hint)
