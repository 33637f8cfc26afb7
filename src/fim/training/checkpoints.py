"""Checkpoints: whole or absent, and tied to the data, the format and the base they came from."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fim.errors import ResumeMismatchError, RunFolderError
from fim.runs.writing import read_json, refusing
from fim.training.processes import is_main, of_main, wait_for_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CHECKPOINT_FILE = "fim_checkpoint.json"
LAST = "last"
_NAME = re.compile(r"checkpoint-(\d+)")
_DRAFT_PREFIX = ".draft-"
_PACKAGES = ("torch", "transformers", "trl", "peft", "accelerate", "bitsandbytes", "unsloth")
_NOT_BINDING = "config"


@dataclass(frozen=True, slots=True)
class CheckpointRecord:
    """What a checkpoint belongs to.

    Args:
        step: Optimizer steps done.
        elapsed_seconds: Wall time of the run so far.
        identity: Name -> fingerprint of what a resumed run must share (``data``, ``format``,
            ``base``), and of the settings (``config``), which may change.
        versions: Package -> version.
        selection: The best held-out figures so far.
    """

    step: int
    elapsed_seconds: float
    identity: Mapping[str, str]
    versions: Mapping[str, str] = field(default_factory=dict)
    selection: Mapping[str, object] = field(default_factory=dict)

    def as_text(self) -> str:
        """Return the record as JSON text."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the record of a checkpoint.

        Raises:
            RunFolderError: The folder holds no whole checkpoint.
        """
        data = read_json(folder / CHECKPOINT_FILE)
        if data is None:
            raise RunFolderError(
                f"{folder} holds no readable {CHECKPOINT_FILE}, so it is no whole checkpoint of a "
                "run.",
                hint="Name a run or a checkpoint folder: --resume last",
                context={"path": str(folder)},
            )
        try:
            return cls(**data)  # type: ignore[arg-type]
        except TypeError as error:
            raise RunFolderError(
                f"{folder / CHECKPOINT_FILE} is no checkpoint record ({error}).",
                hint="It was written by another version of fim; train again.",
                context={"path": str(folder)},
            ) from error

    def refuse_other(self, identity: Mapping[str, str], folder: Path) -> None:
        """Refuse to go on with other data, another format or another base.

        Raises:
            ResumeMismatchError: Something differs; the message says what.
        """
        names = sorted((self.identity.keys() | identity.keys()) - {_NOT_BINDING})
        other = [name for name in names if self.identity.get(name) != identity.get(name)]
        if other:
            was = ", ".join(f"{name} {self.identity.get(name, 'unknown')}" for name in other)
            now = ", ".join(f"{name} {identity.get(name, 'unknown')}" for name in other)
            raise ResumeMismatchError(
                f"The checkpoint {folder} was made from another {' and '.join(other)} (then: {was};"
                f" now: {now}); going on would mix two runs into one adapter.",
                hint="Resume with the settings of the run, or start a new run without --resume.",
                context={"differs": other, "checkpoint": str(folder)},
            )


def installed_versions() -> dict[str, str]:
    """Return the versions of the packages that training depends on."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class CheckpointStore:
    """The checkpoints of one run.

    Args:
        folder: Where they lie.
        limit: How many are kept.
        kept_step: Names a step whose checkpoint is kept besides; it may name none.
    """

    def __init__(
        self, folder: Path, *, limit: int, kept_step: Callable[[], int | None] = lambda: None
    ) -> None:
        self.folder = folder
        self._limit = limit
        self._kept_step = kept_step

    def at(self, step: int) -> Path | None:
        """Return the whole checkpoint of a step, or None."""
        path = self.folder / f"checkpoint-{step}"
        return path if (path / CHECKPOINT_FILE).is_file() else None

    def saved(self) -> list[Path]:
        """Return the whole checkpoints, the newest last."""
        if not self.folder.is_dir():
            return []
        whole = [
            path
            for path in self.folder.iterdir()
            if _NAME.fullmatch(path.name) and (path / CHECKPOINT_FILE).is_file()
        ]
        return sorted(whole, key=lambda path: (path / CHECKPOINT_FILE).stat().st_mtime_ns)

    def last(self) -> Path | None:
        """Return the newest whole checkpoint, or None."""
        saved = self.saved()
        return saved[-1] if saved else None

    def remove_drafts(self) -> None:
        """Delete what an earlier crash left half-written."""
        if not is_main():
            return
        for draft in self.folder.glob(f"{_DRAFT_PREFIX}*"):
            shutil.rmtree(draft, ignore_errors=True)

    @contextmanager
    def writing(self, record: CheckpointRecord) -> Iterator[Path]:
        """Yield an empty folder in which ``checkpoint-<step>`` is to be made, then publish that.

        Raises:
            RunFolderError: The file system refused; earlier checkpoints are untouched.
        """
        name = f"checkpoint-{record.step}"
        with draft_folder(self.folder / name) as draft:
            yield draft
            wait_for_all()
            if is_main():
                (draft / name / CHECKPOINT_FILE).write_text(record.as_text(), encoding="utf-8")
                replace_folder(draft / name, self.folder / name)
        wait_for_all()
        kept = f"checkpoint-{self._kept_step()}"
        for old in self.saved()[: -self._limit]:
            if old.name != kept and is_main():
                shutil.rmtree(old, ignore_errors=True)


def find_checkpoint(where: Path | str, *, run: Path | None = None) -> Path:
    """Return the checkpoint that a user means.

    Args:
        where: ``last``, a run folder, or a checkpoint folder.
        run: Run folder in which ``last`` is looked up.

    Raises:
        RunFolderError: There is no whole checkpoint there.
    """
    folder = run if str(where) == LAST and run is not None else Path(where)
    if (folder / CHECKPOINT_FILE).is_file():
        return folder
    for place in (folder / "checkpoints", folder):
        last = CheckpointStore(place, limit=1).last()
        if last is not None:
            return last
    raise RunFolderError(
        f"There is no checkpoint in {folder}, so there is nothing to resume.",
        hint="`fim runs list` shows the runs; start a new one without --resume.",
        context={"path": str(folder)},
    )


@contextmanager
def draft_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside a target, the same in every process, gone afterwards.

    Raises:
        RunFolderError: The file system refused.
    """
    draft = target.parent / f"{_DRAFT_PREFIX}{target.name}-{of_main(os.getpid())}"
    try:
        with refusing(target, "write"):
            if is_main():
                shutil.rmtree(draft, ignore_errors=True)
                draft.mkdir(parents=True)
            wait_for_all()
            yield draft
    finally:
        if is_main():
            shutil.rmtree(draft, ignore_errors=True)


def replace_folder(made: Path, target: Path) -> None:
    """Put a finished folder in the place of another, by renames."""
    if target.exists():
        old = made.with_name(f"{made.name}.old")
        target.rename(old)
        made.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        made.rename(target)
