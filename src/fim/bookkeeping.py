"""A run's own records: the folder it opens, its status, the settings that it resumes with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fim.config import ResolvedSettings, Settings, settings_record
from fim.errors import FimError, InterruptedRunError, RunFolderError
from fim.logger import get_logger
from fim.runs import RunFolder, RunState, collect_environment, find_run
from fim.runs.followed import FollowedRun
from fim.training.processes import is_main, of_main

_log = get_logger("bookkeeping")


def open_run(resolved: ResolvedSettings, out: Path | None) -> RunFolder:
    """Make a run folder and record in it what is about to run, and where.

    Of several processes that train together the main one makes and writes it.

    Raises:
        RunFolderError: The folder cannot be made or written, or holds a run.
    """
    settings = resolved.settings
    if not is_main():
        return FollowedRun(of_main(Path()))
    if out is not None:
        run = RunFolder.create_at(out)
    else:
        run = RunFolder.create(settings.train.output_dir, settings.model.name)
    of_main(run.path)
    run.write_json(run.config, settings_record(settings))
    run.write_json(run.sources, dict(resolved.sources))
    run.write_json(run.environment, collect_environment())
    return run


@contextmanager
def recording(run: RunFolder) -> Iterator[None]:
    """Keep the run's status true: done at the end, interrupted or failed on the way.

    Raises:
        InterruptedRunError: Ctrl-C came where no checkpoint was needed.
    """
    run.set_status(RunState.RUNNING)
    try:
        yield
    except InterruptedRunError as error:
        run.set_status(RunState.INTERRUPTED, error.message)
        raise
    except KeyboardInterrupt as interrupt:
        run.set_status(RunState.INTERRUPTED, "stopped by the user before training began")
        raise InterruptedRunError(
            f"stopped before training began; {run.path} holds no checkpoint yet",
            hint="run the same command again",
        ) from interrupt
    except FimError as error:
        _record_failure(run, error.message)
        raise
    except Exception as error:
        _record_failure(run, f"{type(error).__name__}: {error}")
        raise
    run.set_status(RunState.DONE)


def find_resumable(root: Path, name: str) -> RunFolder:
    """Return the run that ``--resume`` names; ``last`` is the newest one with a checkpoint.

    Raises:
        RunFolderError: There is no such run, or it holds no checkpoint.
    """
    run = find_run(root, "latest" if name == "last" else name)
    if not any(run.checkpoints.glob("checkpoint-*")):
        raise RunFolderError(
            f"{run.path} holds no checkpoint, so there is nothing to go on with",
            hint="`fim runs list` shows the runs; start anew with: fim train",
        )
    return run if is_main() else FollowedRun(run.path)


def settings_of_run(run: RunFolder) -> Settings:
    """Return the settings a run began with; its own data set is used again where it built one.

    Raises:
        RunFolderError: They cannot be read.
    """
    try:
        record = json.loads(run.config.read_text(encoding="utf-8"))
        settings = Settings.model_validate(record)
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"{run.config} cannot be read ({error}), so the run cannot go on as it began",
            hint="start a new run: fim train",
        ) from error
    built = run.path / "data"
    if not (built / "manifest.json").is_file():
        return settings
    return settings.model_copy(update={"data": settings.data.model_copy(update={"path": built})})


def fingerprint_settings(settings: Settings) -> str:
    """Return a hash over everything that is set."""
    text = json.dumps(settings_record(settings), sort_keys=True)
    return hashlib.blake2b(text.encode("utf-8"), digest_size=16).hexdigest()


def _record_failure(run: RunFolder, reason: str) -> None:
    """Set the status to failed; a folder that cannot be written any more keeps its last status."""
    try:
        run.set_status(RunState.FAILED, reason)
    except RunFolderError as error:
        _log.warning("%s", error.message)
