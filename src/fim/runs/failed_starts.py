"""A folder that a run wants and another one has: taken, or set aside where it never began."""

from __future__ import annotations

import logging
import shlex
from itertools import count
from typing import TYPE_CHECKING

from fim.errors import RunFolderError
from fim.runs import writing

if TYPE_CHECKING:
    from fim.runs.folder import RunFolder

_STATUS = "STATUS"
_RECORDS = frozenset(
    {
        _STATUS,
        "config.json",
        "sources.json",
        "given.json",
        "resumes.jsonl",
        "environment.json",
        "data_manifest.json",
        "trained_rows.json",
        "summary.json",
        "metrics.jsonl",
        "samples.jsonl",
        "train.log",
    }
)
_ENDED = frozenset({"failed", "interrupted"})
_logger = logging.getLogger(__name__)


def make_room(run: RunFolder) -> None:
    """Set a run aside that ended before its first checkpoint; nothing is deleted.

    Its records move into a folder ``failed-<n>`` beside them, and so does a set that it built.

    Raises:
        RunFolderError: The run is worth keeping, or may still be running, or the file system
            refused.
    """
    status = run.status
    is_worth_keeping = run.has_checkpoint or run.trained is not None
    if is_worth_keeping or status.state not in _ENDED:
        raise _taken(run)
    numbered = (run.path / f"failed-{number}" for number in count(1))
    place = next(folder for folder in numbered if not folder.exists())
    names = [path.name for path in run.path.iterdir() if path.name in _RECORDS]
    data = (writing.read_json(run.config) or {}).get("data")
    has_built = isinstance(data, dict) and data.get("path") is None
    if has_built and (run.path / "data").is_dir():
        names.append("data")
    with writing.refusing(place, "make"):
        place.mkdir()
        for name in sorted(names, key=lambda each: each == _STATUS):
            (run.path / name).rename(place / name)
    _logger.warning(
        "%s held a run that %s before its first checkpoint (%s); its records are in %s now",
        run.shown_path,
        "failed" if status.state == "failed" else "was stopped",
        status.reason or "no reason is known",
        place.name,
    )


def _taken(run: RunFolder) -> RunFolderError:
    resume = shlex.join(("fim", "train", "--resume", run.shown_path))
    more = f"continue that run: {resume}"
    if not run.has_checkpoint:
        more = "remove it where nothing runs in it any more (--resume needs a checkpoint)"
    return RunFolderError(
        f"{run.path} holds a run already ({run.status.state}); a new one would overwrite its "
        "results.",
        hint=f"Name another folder with --out DIR, or {more}",
        context={"path": str(run.path)},
    )
