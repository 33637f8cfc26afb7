"""Find runs: all of them, one by name, the newest finished one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fim.errors import NoFinishedRunError, RunFolderError
from fim.runs import writing
from fim.runs.folder import RunFolder, RunState

_SHOWN_STEP_METRICS = ("step", "loss", "eval_loss")


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A line of ``fim runs list``.

    ``metrics`` holds, after an evaluation, the figures of its comparison by metric; before it, the
    last training and held-out loss.
    """

    id: str
    state: RunState
    reason: str
    path: Path
    metrics: dict[str, object]

    def as_json(self) -> dict[str, object]:
        """Return the line as JSON-ready data."""
        return {
            "id": self.id,
            "status": str(self.state),
            "reason": self.reason,
            "path": str(self.path),
            "metrics": writing.finite(self.metrics),
        }


def list_runs(root: Path) -> tuple[RunSummary, ...]:
    """Return the runs under a root, newest first; a missing root has none, damage is shown."""
    return tuple(summarise(run) for run in _runs(root))


def summarise(run: RunFolder) -> RunSummary:
    """Return the line of one run."""
    status = run.status
    return RunSummary(
        id=run.id,
        state=status.state,
        reason=status.reason,
        path=run.path,
        metrics=_metrics(run),
    )


def find_latest_finished(root: Path) -> RunFolder:
    """Return the run under a root that finished last and has an adapter or a model.

    Raises:
        NoFinishedRunError: There is none.
    """
    runs = _runs(root)
    for run in runs:
        if run.status.state is RunState.DONE and run.trained is not None:
            return run
    seen = f"{len(runs)} unfinished or without an adapter" if runs else "none at all"
    raise NoFinishedRunError(
        f"There is no finished run under {root} ({seen}), so there is no adapter to take.",
        hint="`fim quickstart` makes one here; or name an adapter folder: --adapter DIR",
        context={"root": str(root), "runs": len(runs)},
    )


def find_run(root: Path, name: str) -> RunFolder:
    """Return a run by its folder, its id, ``latest``, or the start of its id.

    Raises:
        RunFolderError: No run or more than one goes by that name.
    """
    for path in (root / name, Path(name).expanduser()):
        if (path / "STATUS").is_file():
            return RunFolder.open(path)
    matches = [run for run in _runs(root) if run.id.startswith(name)]
    if len(matches) == 1:
        return matches[0]
    what = "More than one run" if matches else "No run"
    raise RunFolderError(
        f"{what} under {root} goes by the name {name!r}.",
        hint="`fim runs list` shows the names.",
        context={"name": name, "matches": [run.id for run in matches]},
    )


def _runs(root: Path) -> list[RunFolder]:
    try:
        folders = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    except OSError:
        return []
    runs = [RunFolder(path) for path in folders if _is_run(path)]
    return sorted(runs, key=_recency, reverse=True)


def _is_run(path: Path) -> bool:
    return any((path / name).exists() for name in ("STATUS", "config.json", "metrics.jsonl"))


def _recency(run: RunFolder) -> tuple[int, str]:
    try:
        return run.status_file.stat().st_mtime_ns, run.id
    except OSError:
        return 0, run.id


def _metrics(run: RunFolder) -> dict[str, object]:
    compared = (writing.read_json(run.comparison) or {}).get("metrics")
    if isinstance(compared, dict):
        return compared
    latest: dict[str, object] = {}
    for row in run.read_metrics():
        latest |= {
            key: row[key] for key in _SHOWN_STEP_METRICS if isinstance(row.get(key), int | float)
        }
    return latest
