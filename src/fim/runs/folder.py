"""One run's folder: its paths, its status, and atomic writes into it."""

from __future__ import annotations

import logging
import re
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from fim.errors import RunFolderError
from fim.runs import writing
from fim.runs.failed_starts import make_room

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

LATEST_NAME = "latest"
_STATUS_NAME = "STATUS"
_SLUG_CHARS = 24
_SIZE_ENDS_SLUG = re.compile(r"^(.*?\d+(?:\.\d+)?[bm])(?![a-z0-9])")
_ATTEMPTS = 16

_logger = logging.getLogger(__name__)


class RunState(StrEnum):
    """What became of a run; ``unknown`` for a folder whose status cannot be read."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class RunStatus:
    """The state of a run and, where it failed, why."""

    state: RunState
    reason: str = ""


def local_now() -> datetime:
    """Return the present local time with its zone."""
    return datetime.now().astimezone()


def random_tag() -> str:
    """Return four random hexadecimal digits."""
    return secrets.token_hex(2)


def new_run_id(model_name: str, *, now: datetime, tag: str) -> str:
    """Return a name that sorts by time and tells the model.

    >>> new_run_id("unsloth/Qwen3-8B-bnb-4bit", now=datetime(2026, 11, 22, 14, 30), tag="3f9a")
    '20261122-1430-qwen3-8b-3f9a'
    """
    bare = model_name.rstrip("/").rsplit("/", 1)[-1].lower()
    sized = _SIZE_ENDS_SLUG.match(bare)
    plain = re.sub(r"[^a-z0-9.]+", "-", sized.group(1) if sized else bare)
    slug = plain[:_SLUG_CHARS].strip("-.") or "model"
    return f"{now:%Y%m%d-%H%M}-{slug}-{tag}"


class RunFolder:
    """The folder of one run.

    Make it with :meth:`create`, :meth:`create_at` or :meth:`open`.

    Args:
        path: The folder, which exists.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @classmethod
    def create(
        cls,
        root: Path,
        model_name: str,
        run_id: str | None = None,
        *,
        clock: Callable[[], datetime] = local_now,
        tag: Callable[[], str] = random_tag,
    ) -> RunFolder:
        """Make a new run folder under a root and point the root's ``latest`` link at it.

        Raises:
            RunFolderError: The folder cannot be made, or the run of that name exists.
        """
        for _ in range(_ATTEMPTS):
            name = run_id or new_run_id(model_name, now=clock(), tag=tag())
            path = root / name
            if run_id is not None or not path.exists():
                break
        run = cls._make(path)
        run.link_latest()
        return run

    @classmethod
    def create_at(cls, path: Path) -> RunFolder:
        """Make a run in exactly this folder, which may exist if no run is in it.

        A run that failed or was stopped before its first checkpoint is none: its records are moved
        into a folder ``failed-<n>`` of their own.

        Raises:
            RunFolderError: The folder cannot be made or holds a run already.
        """
        return cls._make(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Return the run in a folder; a link such as ``runs/latest`` is followed.

        Raises:
            RunFolderError: There is no run in that folder.
        """
        if not (path / _STATUS_NAME).is_file():
            what = "holds no run" if path.is_dir() else "does not exist"
            raise RunFolderError(
                f"The run folder {path} {what}.",
                hint="`fim runs list` shows the runs that are here.",
                context={"path": str(path)},
            )
        return cls(path.resolve())

    @classmethod
    def _make(cls, path: Path) -> RunFolder:
        if (path / _STATUS_NAME).exists():
            make_room(cls(path))
        with writing.refusing(path, "make"):
            path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        run.set_status(RunState.RUNNING)
        return run

    @property
    def has_checkpoint(self) -> bool:
        """Tell whether there is something to go on with."""
        return any(self.checkpoints.glob("checkpoint-*"))

    @property
    def id(self) -> str:
        """Name of the run."""
        return self.path.name

    @property
    def shown_path(self) -> str:
        """The folder as people type it: relative where it lies under the working directory."""
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @property
    def config(self) -> Path:
        """The resolved settings."""
        return self.path / "config.json"

    @property
    def sources(self) -> Path:
        """Where each setting came from."""
        return self.path / "sources.json"

    @property
    def given(self) -> Path:
        """What every source said of the settings, whether it counted or not."""
        return self.path / "given.json"

    @property
    def resumes(self) -> Path:
        """When the run was resumed with other settings, one JSON object a line."""
        return self.path / "resumes.jsonl"

    @property
    def environment(self) -> Path:
        """Versions and machine facts."""
        return self.path / "environment.json"

    @property
    def data_manifest(self) -> Path:
        """Hashes and counts of the data."""
        return self.path / "data_manifest.json"

    @property
    def summary(self) -> Path:
        """What the run was and what came out of it."""
        return self.path / "summary.json"

    @property
    def metrics(self) -> Path:
        """Figures by step, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def samples(self) -> Path:
        """Completions made along the way, one JSON object a line."""
        return self.path / "samples.jsonl"

    @property
    def log(self) -> Path:
        """The log of the run."""
        return self.path / "train.log"

    @property
    def plots(self) -> Path:
        """Folder of plots."""
        return self.path / "plots"

    @property
    def checkpoints(self) -> Path:
        """Folder of training checkpoints."""
        return self.path / "checkpoints"

    @property
    def adapter(self) -> Path:
        """Folder of the trained adapter."""
        return self.path / "adapter"

    @property
    def model(self) -> Path:
        """Folder of the whole model that full fine-tuning leaves."""
        return self.path / "model"

    @property
    def trained(self) -> Path | None:
        """What training left: the adapter or the whole model; None before that."""
        if (self.adapter / "adapter_config.json").is_file():
            return self.adapter
        return self.model if (self.model / "config.json").is_file() else None

    @property
    def eval(self) -> Path:
        """Folder of evaluations."""
        return self.path / "eval"

    @property
    def comparison(self) -> Path:
        """Base against tuned."""
        return self.eval / "comparison.json"

    @property
    def card(self) -> Path:
        """The model card."""
        return self.path / "README.md"

    @property
    def report(self) -> Path:
        """The stand-alone report."""
        return self.path / "report.html"

    @property
    def status_file(self) -> Path:
        """One line: the state and, where it failed, why."""
        return self.path / _STATUS_NAME

    @property
    def status(self) -> RunStatus:
        """The state of the run; ``unknown`` when the status file is missing or damaged."""
        try:
            line = self.status_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return RunStatus(RunState.UNKNOWN)
        state, _, reason = line.strip().partition(": ")
        if state not in tuple(RunState):
            return RunStatus(RunState.UNKNOWN, "the status file is damaged")
        return RunStatus(RunState(state), reason)

    def set_status(self, state: RunState | str, reason: str = "") -> None:
        """Write the state of the run; line breaks in the reason become spaces.

        Raises:
            RunFolderError: The file system refused.
        """
        told = " ".join(reason.split())
        line = f"{RunState(state)}: {told}" if told else str(RunState(state))
        writing.write_text(self.status_file, line + "\n")

    def write_json(self, path: Path | str, data: object) -> Path:
        """Write JSON into the run, atomically; a relative path is taken from the run folder.

        Raises:
            RunFolderError: The file system refused.
        """
        return writing.write_json(self.path / path, data)

    def write_text(self, path: Path | str, text: str) -> Path:
        """Write text into the run, atomically; a relative path is taken from the run folder.

        Raises:
            RunFolderError: The file system refused.
        """
        return writing.write_text(self.path / path, text)

    def write_jsonl(self, path: Path | str, rows: Iterable[Mapping[str, object]]) -> Path:
        """Write rows into the run, atomically; a relative path is taken from the run folder.

        Raises:
            RunFolderError: The file system refused.
        """
        return writing.write_jsonl(self.path / path, rows)

    def append_metrics(self, row: Mapping[str, object]) -> None:
        """Append the figures of a step and flush them.

        Raises:
            RunFolderError: The file system refused.
        """
        writing.append_jsonl(self.metrics, row)

    def append_sample(self, row: Mapping[str, object]) -> None:
        """Append a completion and flush it.

        Raises:
            RunFolderError: The file system refused.
        """
        writing.append_jsonl(self.samples, row)

    def append_resume(self, row: Mapping[str, object]) -> None:
        """Append what a resumed run goes on with.

        Raises:
            RunFolderError: The file system refused.
        """
        writing.append_jsonl(self.resumes, row)

    def read_metrics(self) -> list[dict[str, object]]:
        """Return the figures written so far; lines torn by a crash are skipped."""
        return writing.read_jsonl(self.metrics)

    def link_latest(self) -> None:
        """Point ``latest`` beside this folder at it; where links are not possible, do without."""
        link = self.path.parent / LATEST_NAME
        draft = self.path.parent / f".{LATEST_NAME}.{self.id}"
        try:
            draft.unlink(missing_ok=True)
            draft.symlink_to(self.id, target_is_directory=True)
            draft.replace(link)
        except OSError as error:
            draft.unlink(missing_ok=True)
            _logger.warning("no link %s to the newest run: %s", link, error)
