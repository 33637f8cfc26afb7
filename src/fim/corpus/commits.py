"""The history of a repository: which lines were added since a commit, or by the last ones."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus import git
from fim.corpus.scan import GitSource, SourceEntry, existing_folder, require_commit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

LineRanges = tuple[tuple[int, int], ...]
_HUNK = re.compile(rb"@@ -\S+ \+(\d+)(?:,(\d+))? @@")
_DIFF_OPTIONS = (
    "-z",
    "--raw",
    "--patch",
    "--unified=0",
    "--find-renames",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--relative",
    "--diff-filter=AMR",
    "--src-prefix=a/",
    "--dst-prefix=b/",
)
_REGULAR_MODES = frozenset({"100644", "100755"})
_RENAMED_PATHS = 2
_NUM_FACTS = 5


@dataclass(frozen=True, slots=True)
class _Changed:
    mode: str
    object_id: str
    old_path: str
    path: str


class CommitsSource(GitSource):
    """The files of the last commits as each left them, with the lines that it added.

    Args:
        root: A folder of a repository.
        head: The newest commit.
        number: How many commits, merges left out.
    """

    def __init__(self, root: Path, head: str, number: int) -> None:
        super().__init__(root, head, ())
        self._folder = root
        self._head = head
        self._number = number

    def entries(self) -> Sequence[SourceEntry]:
        """Return every version of a file that one of the commits added lines to, newest first."""
        found: dict[tuple[str, str], SourceEntry] = {}
        families: dict[str, str] = {}
        for commit in recent_commits(self._folder, self._head, self._number):
            for entry in _changed_entries(self._folder, commit, families):
                found.setdefault((entry.path, entry.object_id), entry)
        return tuple(sorted(found.values(), key=lambda entry: (entry.path, entry.object_id)))


def open_commits(root: Path, number: int, *, revision: str | None = None) -> CommitsSource:
    """Return the versions of files that the last commits of a repository made.

    Args:
        root: A folder of a repository.
        number: How many commits, merges left out.
        revision: The newest commit; None takes HEAD.

    Raises:
        SourceNotFoundError: The root is missing, is no repository, or has no such commit.
    """
    folder = existing_folder(root)
    return CommitsSource(folder, require_commit(folder, revision or "HEAD"), number)


def recent_commits(root: Path, head: str, number: int) -> tuple[str, ...]:
    """Return the last commits that touched the folder, merges left out, the newest first.

    Raises:
        SourceNotFoundError: git cannot read the history.
    """
    listed = git.run_git(root, "rev-list", "--no-merges", f"--max-count={number}", head, "--", ".")
    return tuple(listed.decode("ascii").split())


def base_commit(root: Path, head: str, number: int) -> str | None:
    """Return the parent of the oldest of the last commits, or None where it has none.

    Everything in that commit is older than every line that the commits added.

    Raises:
        SourceNotFoundError: git cannot read the history.
    """
    commits = recent_commits(root, head, number)
    return git.resolve_commit(root, f"{commits[-1]}^") if commits else None


def lines_added_since(root: Path, since: str, until: str) -> Mapping[str, LineRanges]:
    """Return the lines of each file of a commit that an earlier commit did not have.

    A file that was only moved added none; a moved and changed one added what was changed.

    Args:
        root: A folder of a repository; paths are relative to it.
        since: The earlier commit.
        until: The later commit.

    Raises:
        SourceNotFoundError: git cannot compare the commits.
    """
    return parse_added_lines(git.run_git(root, "diff-tree", "-r", *_DIFF_OPTIONS, since, until))


def parse_added_lines(patch: bytes) -> Mapping[str, LineRanges]:
    """Return the added lines by path of a patch made with ``-z --raw -p --unified=0``."""
    raw, _, body = patch.partition(b"\0\0")
    paths = [changed.path for changed in _parse_raw(raw)]
    ranges: dict[str, list[tuple[int, int]]] = defaultdict(list)
    number = -1
    for line in body.split(b"\n"):
        if line.startswith(b"diff --git "):
            number += 1
        elif line.startswith(b"@@ ") and 0 <= number < len(paths):
            match = _HUNK.match(line)
            if match is not None:
                first, count = int(match[1]), int(match[2] or 1)
                if count:
                    ranges[paths[number]].append((first, first + count - 1))
    return {path: tuple(found) for path, found in ranges.items()}


def _changed_entries(root: Path, commit: str, families: dict[str, str]) -> Sequence[SourceEntry]:
    patch = git.run_git(root, "diff-tree", "--root", "--no-commit-id", "-r", *_DIFF_OPTIONS, commit)
    added = parse_added_lines(patch)
    entries = []
    for changed in _parse_raw(patch.partition(b"\0\0")[0]):
        family = families.get(changed.path, changed.path)
        families[changed.old_path] = family
        if changed.mode in _REGULAR_MODES and changed.path in added:
            entries.append(
                SourceEntry(
                    changed.path,
                    object_id=changed.object_id,
                    lines=added[changed.path],
                    family=family,
                )
            )
    return entries


def _parse_raw(raw: bytes) -> list[_Changed]:
    fields = raw.split(b"\0")
    found = []
    position = 0
    while position < len(fields):
        facts = fields[position].decode("ascii", "replace").lstrip(":").split(" ")
        num_paths = _RENAMED_PATHS if facts[-1][:1] in {"R", "C"} else 1
        names = [os.fsdecode(name) for name in fields[position + 1 : position + 1 + num_paths]]
        if names and len(facts) == _NUM_FACTS:
            found.append(_Changed(facts[1], facts[3], names[0], names[-1]))
        position += 1 + num_paths
    return found
