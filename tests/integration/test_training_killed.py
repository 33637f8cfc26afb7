"""A run in a process of its own that is killed or asked to stop, and goes on as if nothing was.

What lies on disk is whole at any moment, and the resumed run is the unbroken one bit for bit.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
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
)

TESTS = Path(__file__).resolve().parents[1]
SETTINGS = {"save_steps": 2, "save_total_limit": 1, "eval_steps": 5}
FEW_STEPS, MANY_STEPS = 16, 30


class Nursery:
    """Starts training processes one after the other, and kills them."""

    def __init__(self, talk: IO[str], answers: IO[str]) -> None:
        self._talk = talk
        self._answers = answers
        self._pid = 0
        self.last_line = ""

    def start(self, model: Path, run: Path, *options: str, num_steps: int = FEW_STEPS) -> None:
        """Start a process."""
        wanted = json.dumps({**SETTINGS, "max_steps": num_steps})
        settings = ("--settings", wanted, "--delay", "0.02")
        command = [str(model), str(run), *settings, "--slow-checkpoints", "0.03", *options]
        self._talk.write(json.dumps(command) + "\n")
        self._talk.flush()
        self._pid = int(self._wait_for("pid").split()[1])

    def end_by(self, number: signal.Signals) -> str:
        """Send the process a signal and return how it ended."""
        os.kill(self._pid, number)
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
            self.last_line = line.strip()
        pytest.fail(f"the process never said {word}")


@pytest.fixture(scope="module")
def nursed() -> Iterator[Nursery]:
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


def uninterrupted(learner: Path, run: Path, num_steps: int) -> Path:
    """Train in this process, without any interruption."""
    settings = toy_settings(**{**SETTINGS, "max_steps": num_steps})
    held_out = toy_rows(4, seed=5)
    toy_trainer(toy_loaded(learner), run, settings=settings, eval_rows=held_out).train()
    return run


@pytest.fixture(scope="module")
def whole(learner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return uninterrupted(learner, tmp_path_factory.mktemp("whole") / "run", FEW_STEPS)


def kill_at_random(nursed: Nursery, learner: Path, run: Path, *, kills: int, steps: int) -> int:
    """Start and kill so many times; return how often a checkpoint was half-written."""
    generator = random.Random(20_261_122)
    num_half_written = 0
    for attempt in range(kills):
        done = last_step(run)
        nursed.start(learner, run, *(("--resume", "last") if done else ()), num_steps=steps)
        if attempt % 2:
            while not drafts(run) or (attempt > 1 and last_step(run) <= done):
                time.sleep(0.001)
            time.sleep(generator.uniform(0, 0.01))
        else:
            nursed.wait_for_step(done + generator.randint(1, 3))
            time.sleep(generator.uniform(0, 0.05))
        assert nursed.end_by(signal.SIGKILL) == "ended -9"
        num_half_written += bool(drafts(run))
        assert done <= last_step(run) < steps
    return num_half_written


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    ("kills", "steps"), [(3, FEW_STEPS), pytest.param(9, MANY_STEPS, marks=pytest.mark.slow)]
)
def test_killed_at_random_moments_and_resumed_equals_uninterrupted(
    nursed: Nursery, learner: Path, whole: Path, tmp_path: Path, kills: int, steps: int
) -> None:
    killed = tmp_path / "killed"
    num_half_written = kill_at_random(nursed, learner, killed, kills=kills, steps=steps)
    nursed.start(learner, killed, "--resume", "last", num_steps=steps)
    assert nursed.end() == "ended 0"
    assert num_half_written >= kills // 3
    assert not drafts(killed)
    if steps != FEW_STEPS:
        whole = uninterrupted(learner, tmp_path / "whole", steps)
    assert is_same_adapter(whole, killed)
    assert figures(whole) == figures(killed)


@pytest.mark.timeout(120)
def test_ctrl_c_in_a_process_writes_a_checkpoint_and_says_how_to_go_on(
    nursed: Nursery, learner: Path, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    nursed.start(learner, run)
    nursed.wait_for_step(3)
    assert nursed.end_by(signal.SIGINT) == "ended 130"
    message, hint = nursed.last_line.split("|")
    assert hint == "fim train --resume last"
    checkpoint = find_checkpoint("last", run=run)
    assert str(checkpoint) in message
    assert 3 <= last_step(run) < FEW_STEPS
    nursed.start(learner, run, "--resume", str(checkpoint))
    assert nursed.end() == "ended 0"
    assert is_same_adapter(whole, run)
    assert figures(whole) == figures(run)
