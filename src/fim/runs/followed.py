"""A run folder as the processes see it that do not write."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fim.runs.folder import RunFolder, RunState


class FollowedRun(RunFolder):
    """A run that another process writes: reading is real, writing does nothing.

    Args:
        path: The folder.
    """

    def set_status(self, state: RunState | str, reason: str = "") -> None:
        """Leave the status to the process that writes."""

    def write_json(self, path: Path | str, data: object) -> Path:
        """Return the path; nothing is written."""
        return self.path / path

    def write_text(self, path: Path | str, text: str) -> Path:
        """Return the path; nothing is written."""
        return self.path / path

    def write_jsonl(self, path: Path | str, rows: Iterable[Mapping[str, object]]) -> Path:
        """Return the path; nothing is written."""
        return self.path / path

    def append_metrics(self, row: Mapping[str, object]) -> None:
        """Leave the figures to the process that writes."""

    def append_sample(self, row: Mapping[str, object]) -> None:
        """Leave the completions to the process that writes."""

    def append_resume(self, row: Mapping[str, object]) -> None:
        """Leave the changes to the process that writes."""

    def link_latest(self) -> None:
        """Leave the link to the process that writes."""
