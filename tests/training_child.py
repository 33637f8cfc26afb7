"""A training process for tests that interrupt or multiply one.

``MODEL RUN [options]`` trains once. ``serve`` reads such command lines, one JSON list a line, and
forks a process for each: the heavy imports are paid once, and each process can be killed.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from fim.errors import InterruptedRunError
from fim.model import LoadedModel
from fim.runs import RunFolder
from fim.runs.followed import FollowedRun
from fim.training import Trainer
from fim.training.processes import is_main, join_group, of_main
from packing_toys import document_rows
from training_toys import (
    FORMAT,
    Interrupter,
    ManualClock,
    ProgressRecorder,
    toy_loaded,
    toy_rows,
    toy_run,
    toy_settings,
)


class SlowProgress(ProgressRecorder):
    """Says when a step is done, and waits."""

    def __init__(self, delay_seconds: float) -> None:
        super().__init__()
        self._delay_seconds = delay_seconds

    def advance(self, done: int, **facts: float | str) -> None:
        """Tell the parent the step."""
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
        time.sleep(self._delay_seconds)


def slow_down_checkpoints(seconds: float) -> None:
    """Stay for a while in the middle of every checkpoint, with half of its files written."""
    from fim.training.sft import RowTrainer

    plain = RowTrainer.save_model

    def slow(self: RowTrainer, *args: object, **kwargs: object) -> None:
        plain(self, *args, **kwargs)  # type: ignore[arg-type]
        time.sleep(seconds)

    RowTrainer.save_model = slow  # type: ignore[method-assign, assignment]


def open_run(path: Path) -> RunFolder:
    """Return the run, which only the main process makes."""
    if is_main():
        toy_run(path)
    of_main(None)
    return RunFolder.open(path) if is_main() else FollowedRun(path)


def progress_of(given: argparse.Namespace, rank: int) -> ProgressRecorder | None:
    """Return what this process is told: the main one tells the parent, one may stop itself."""
    if rank == given.interrupted_rank:
        return Interrupter(given.interrupted_step)
    return SlowProgress(given.delay) if is_main() else None


def clock_of(given: argparse.Namespace, rank: int) -> Callable[[], float]:
    """Return the clock of this process; one of them may be fast."""
    return ManualClock(tick_seconds=5.0) if rank == given.fast_rank else time.monotonic


def digest(loaded: LoadedModel) -> str:
    """Return a hash of the trained weights that this process holds."""
    held = hashlib.sha256()
    for each in loaded.model.parameters():
        if each.requires_grad:
            held.update(each.detach().numpy().tobytes())
    return held.hexdigest()


def main(arguments: list[str]) -> int:
    """Train and say on the last line how it ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--resume")
    parser.add_argument("--delay", type=float, default=0.1)
    parser.add_argument("--slow-checkpoints", type=float, default=0.0)
    parser.add_argument("--documents", action="store_true")
    parser.add_argument("--settings", type=json.loads, default={})
    parser.add_argument("--interrupted-rank", type=int, default=-1)
    parser.add_argument("--interrupted-step", type=int, default=3)
    parser.add_argument("--fast-rank", type=int, default=-1)
    given = parser.parse_args(arguments)
    rank = int(os.environ.get("RANK", "0"))
    join_group()
    if given.slow_checkpoints:
        slow_down_checkpoints(given.slow_checkpoints)
    loaded = toy_loaded(given.model)
    trainer = Trainer(
        loaded=loaded,
        train_rows=document_rows(4, 4, num_tokens=50) if given.documents else toy_rows(),
        eval_rows=toy_rows(4, seed=5),
        settings=toy_settings(**{"max_steps": 40, **given.settings}),
        run=open_run(given.run),
        format_record=FORMAT,
        fingerprints={"config": "c"},
        progress=progress_of(given, rank),
        resume_command="fim train --resume last",
        clock=clock_of(given, rank),
    )
    try:
        result = trainer.train(given.resume)
    except InterruptedRunError as error:
        sys.stdout.write(f"{error.message}|{error.hint}\n")
        return error.exit_code
    sys.stdout.write(f"process {rank} {result.steps} {digest(loaded)}\n")
    return 0


def serve() -> int:
    """Train once for each line of input, in a process of its own, and tell how each one ended."""
    import fim.training.sft
    import fim.training.trainer

    assert fim.training.sft
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os._exit(main(json.loads(line)))
        sys.stdout.write(f"pid {child}\n")
        sys.stdout.flush()
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"ended {os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(serve() if sys.argv[1:] == ["serve"] else main(sys.argv[1:]))
