"""When files changed: the log of a repository, and what a commit's parent held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus import git
from fim.corpus.disk import name_of
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

LOG_COMMITS = 200
_MARK = b"\x02"


@dataclass(frozen=True, slots=True)
class History:
    """When a version of a file was made, and which commits it stood before.

    Commits are named by their place in the log, 0 the newest.

    Args:
        changed: The commit that made the version; None where the log does not reach that far.
        commit: The commit whose added lines hold the holes; None where the newest state is read.
        seen: First and last of each run of commits whose parent holds the version; None where the
            newest state is read.
    """

    changed: int | None = None
    commit: int | None = None
    seen: tuple[tuple[int, int], ...] | None = None

    def is_seen_from(self, commit: int | None) -> bool:
        """Tell whether the parent of a commit holds the version; None is the newest state."""
        if commit is None or self.seen is None:
            return True
        return any(first <= commit <= last for first, last in self.seen)


@dataclass(frozen=True, slots=True)
class LoggedCommit:
    """A commit of the log and the files that it added or changed."""

    id: str
    paths: tuple[str, ...]


def read_log(root: Path, head: str, number: int) -> tuple[LoggedCommit, ...]:
    """Return the last commits that touched the folder, merges left out, the newest first.

    A commit whose parents are cut off, as at the edge of a shallow clone, is left out: what it
    added is not known.

    Args:
        root: A folder of a repository; paths are relative to it.
        head: The newest commit.
        number: Most commits.

    Raises:
        SourceNotFoundError: git cannot read the history.
    """
    listed = git.run_git(
        root,
        "log",
        "--no-merges",
        f"--max-count={number}",
        "-z",
        "--name-only",
        "--no-renames",
        "--relative",
        "--diff-filter=AM",
        "--format=%x02%H",
        head,
        "--",
        ".",
    )
    found: list[tuple[str, list[str]]] = []
    for field in listed.split(b"\0"):
        if field.startswith(_MARK) and field[1:].isalnum():
            found.append((field[1:].decode("ascii"), []))
        elif field and found:
            name = field.removeprefix(b"\n") if not found[-1][1] else field
            found[-1][1].append(name_of(name))
    cut = git.cut_commits(root)
    return tuple(LoggedCommit(commit, tuple(paths)) for commit, paths in found if commit not in cut)


def num_cut(root: Path, head: str) -> int:
    """Return how many commits that a commit descends from have their parents cut off."""
    cut = git.cut_commits(root)
    if not cut:
        return 0
    names = git.run_git(root, "rev-list", head).decode("ascii").split()
    return len(cut.intersection(names))


def changes_by_path(log: Sequence[LoggedCommit]) -> Mapping[str, tuple[int, ...]]:
    """Return the commits that changed each path, the newest first."""
    places: dict[str, list[int]] = {}
    for number, commit in enumerate(log):
        for path in commit.paths:
            places.setdefault(path, []).append(number)
    return {path: tuple(numbers) for path, numbers in places.items()}


def last_changes(root: Path, head: str) -> Mapping[str, int]:
    """Return the newest of the last 200 commits that changed each path; empty without a log."""
    try:
        log = read_log(root, head, LOG_COMMITS)
    except SourceNotFoundError:
        return {}
    return {path: numbers[0] for path, numbers in changes_by_path(log).items()}


def runs_of(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return ascending numbers as runs of neighbours, each by its first and last.

    >>> runs_of([0, 1, 2, 5])
    ((0, 2), (5, 5))
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return tuple(runs)


def maker_of(seen: Sequence[tuple[int, int]], changes: Sequence[int]) -> int | None:
    """Return the commit that made a version: the one before the last whose parent holds it."""
    last = seen[-1][1] if seen else -1
    return next((number for number in changes if number > last), None)
