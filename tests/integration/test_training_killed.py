"""A run that is killed, not asked: what lies on disk is whole, and going on changes nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from fim.errors import RunFolderError
from fim.runs import RunFolder
from fim.training import find_checkpoint
from fim.training.checkpoints import CheckpointRecord
from training_toys import (
    is_same_adapter,
    toy_loaded,
    toy_rows,
    toy_settings,
    toy_trainer,
    write_learner,
)

TESTS = Path(__file__).resolve().parents[1]
SETTINGS = {"max_steps": 24, "save_steps": 2, "save_total_limit": 1, "eval_steps": 5}


class Nursery:
    """Starts training processes one after the other, and kills them."""

    def __init__(self, talk: IO[str], answers: IO[str]) -> None:
        self._talk = talk
        self._answers = answers
        self._pid = 0

    def start(self, model: Path, run: Path, *options: str) -> None:
        """Start a process."""
        settings = ("--settings", json.dumps(SETTINGS), "--delay", "0.02")
        command = [str(model), str(run), *settings, "--slow-checkpoints", "0.03", *options]
        self._talk.write(json.dumps(command) + "\n")
        self._talk.flush()
        self._pid = int(self._wait_for("pid").split()[1])

    def kill(self) -> str:
        """Kill the process at once and return how it ended."""
        os.kill(self._pid, signal.SIGKILL)
        return self._wait_for("ended")

    def wait_for_step(self, step: int) -> None:
        """Return when the process has done a step."""
        while True:
            line = self._answers.readline().strip()
            assert not line.startswith("ended"), line
            if line.isdigit() and int(line) >= step:
                return

    def end(self) -> str:
        """Return how the process ended by itself."""
        return self._wait_for("ended")

    def _wait_for(self, word: str) -> str:
        while line := self._answers.readline():
            if line.startswith(word):
                return line.strip()
        pytest.fail(f"the process never said {word}")


@contextmanager
def nursery() -> Iterator[Nursery]:
    places = os.pathsep.join([str(TESTS), *sys.path])
    environment = {**os.environ, "PYTHONPATH": places, "HF_HUB_OFFLINE": "1"}
    with subprocess.Popen(
        [sys.executable, str(TESTS / "training_child.py"), "serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Nursery(process.stdin, process.stdout)


def drafts(run: Path) -> list[Path]:
    return list((run / "checkpoints").glob(".draft-*"))


def last_step(run: Path) -> int:
    """Return the step of the last checkpoint, which must be whole; 0 without any."""
    try:
        return CheckpointRecord.read(find_checkpoint("last", run=run)).step
    except RunFolderError:
        return 0


def figures(run: Path) -> list[tuple[object, ...]]:
    rows = RunFolder.open(run).read_metrics()
    names = ("step", "loss", "learning_rate", "grad_norm", "eval_loss")
    return [tuple(row.get(name) for name in names) for row in rows]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("num_kills", [3, pytest.param(9, marks=pytest.mark.slow)])
def test_killed_at_random_moments_and_resumed_equals_uninterrupted(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, num_kills: int
) -> None:
    learner = write_learner(tmp_path_factory.mktemp("killed-toy"))
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    generator = random.Random(20_261_122)
    num_half_written = 0
    with nursery() as nursed:
        for attempt in range(num_kills):
            done = last_step(killed)
            nursed.start(learner, killed, *(("--resume", "last") if done else ()))
            if attempt % 2:
                while not drafts(killed) or (attempt > 1 and last_step(killed) <= done):
                    time.sleep(0.001)
                time.sleep(generator.uniform(0, 0.01))
            else:
                nursed.wait_for_step(done + generator.randint(1, 3))
                time.sleep(generator.uniform(0, 0.05))
            assert nursed.kill() == "ended -9"
            num_half_written += bool(drafts(killed))
            assert done <= last_step(killed) < SETTINGS["max_steps"]
        nursed.start(learner, killed, "--resume", "last")
        assert nursed.end() == "ended 0"
    assert num_half_written >= num_kills // 3
    assert not drafts(killed)
    settings = toy_settings(**SETTINGS)
    toy_trainer(
        toy_loaded(learner), whole, settings=settings, eval_rows=toy_rows(4, seed=5)
    ).train()
    assert is_same_adapter(whole, killed)
    assert figures(whole) == figures(killed)
