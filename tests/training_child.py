"""A training process for tests that interrupt one: ``MODEL RUN [last]``, slow enough to be hit."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from fim.errors import InterruptedRunError
from training_toys import ProgressRecorder, toy_loaded, toy_settings, toy_trainer


class SlowProgress(ProgressRecorder):
    """Says when a step is done, and waits."""

    def advance(self, done: int, **facts: float | str) -> None:
        """Tell the parent the step."""
        sys.stdout.write(f"{done}\n")
        sys.stdout.flush()
        time.sleep(0.1)


def main(model: str, run: str, resume: str | None = None) -> int:
    """Train and say on the last line how it ended."""
    settings = toy_settings(max_steps=40)
    trainer = toy_trainer(
        toy_loaded(Path(model)),
        Path(run),
        settings=settings,
        progress=SlowProgress(),
        resume_command="fim train --resume last",
    )
    try:
        trainer.train(resume)
    except InterruptedRunError as error:
        sys.stdout.write(f"{error.message}|{error.hint}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
