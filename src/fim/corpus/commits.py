"""The history of a repository: which lines were added since a commit, or by the last ones."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.corpus import git
from fim.corpus.disk import name_of
from fim.corpus.history import (
    LOG_COMMITS,
    History,
    changes_by_path,
    maker_of,
    num_cut,
    read_log,
    runs_of,
)
from fim.corpus.notices import Notice, command_of, shown
from fim.corpus.scan import GitSource, SourceEntry, existing_folder, require_commit
from fim.errors import SourceNotFoundError

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
    """The files of the last commits as each left them, and all files as each commit found them.

    A version holds holes in the lines that the newest commit which made it added. A version that
    the parent of one of the commits held may be shown as context of that commit's lines. Whoever
    wants no context gets the versions with holes alone.

    Args:
        root: A folder of a repository.
        head: The newest commit.
        number: How many commits, merges left out.
        with_context: Return the files of the parents too.
    """

    def __init__(self, root: Path, head: str, number: int, *, with_context: bool = True) -> None:
        super().__init__(root, head, ())
        self._folder = root
        self._head = head
        self._number = number
        self._with_context = with_context

    def entries(self) -> Sequence[SourceEntry]:
        """Return the versions of files, sorted by path and content."""
        log = read_log(self._folder, self._head, self._number + LOG_COMMITS)
        commits = [commit.id for commit in log[: self._number]]
        self._tell_cut(len(commits))
        found: dict[tuple[str, str], SourceEntry] = {}
        families: dict[str, str] = {}
        for number, commit in enumerate(commits):
            for entry in _changed_entries(self._folder, commit, families):
                made = replace(entry, history=History(number, number, ()))
                found.setdefault((entry.path, entry.object_id), made)
        if self._with_context:
            self._add_parents(commits, changes_by_path(log), families, found)
        return tuple(sorted(found.values(), key=lambda entry: (entry.path, entry.object_id)))

    def _tell_cut(self, num_readable: int) -> None:
        number = num_cut(self._folder, self._head) if num_readable < self._number else 0
        if not number:
            return
        deepen = command_of("git", "-C", self._folder, "fetch", f"--deepen={self._number}")
        which = "1 commit is" if number == 1 else f"{number} commits are"
        message = (
            f"{which} left out at the edge of the shallow clone {shown(self._folder)}: their "
            f"parents are cut off, so which lines they added is not known; {num_readable} of the "
            f"{self._number} commits asked for can be read"
        )
        if not num_readable:
            raise SourceNotFoundError(message, hint=deepen)
        self.notices.append(Notice(message, deepen))

    def _add_parents(
        self,
        commits: Sequence[str],
        changes: Mapping[str, tuple[int, ...]],
        families: Mapping[str, str],
        found: dict[tuple[str, str], SourceEntry],
    ) -> None:
        for (path, object_id), numbers in _seen_from(self._folder, commits).items():
            seen = runs_of(numbers)
            known = found.get((path, object_id))
            if known is None:
                history = History(maker_of(seen, changes.get(path, ())), None, seen)
                family = families.get(path, path)
                found[path, object_id] = SourceEntry(
                    path, object_id=object_id, lines=(), family=family, history=history
                )
            elif known.history is not None:
                found[path, object_id] = replace(known, history=replace(known.history, seen=seen))


def open_commits(
    root: Path, number: int, *, revision: str | None = None, with_context: bool = True
) -> CommitsSource:
    """Return the versions of files that the last commits of a repository made and found.

    Args:
        root: A folder of a repository.
        number: How many commits, merges left out.
        revision: The newest commit; None takes HEAD.
        with_context: Return the files of the parents too.

    Raises:
        SourceNotFoundError: The root is missing, is no repository, or has no such commit.
    """
    folder = existing_folder(root)
    head = require_commit(folder, revision or "HEAD")
    return CommitsSource(folder, head, number, with_context=with_context)


def _seen_from(root: Path, commits: Sequence[str]) -> Mapping[tuple[str, str], list[int]]:
    """Return for each version of a file the commits whose parent holds it, the newest first."""
    seen: dict[tuple[str, str], list[int]] = defaultdict(list)
    for number, commit in enumerate(commits):
        parent = git.resolve_commit(root, f"{commit}^")
        for entry in git.list_tree(root, parent) if parent is not None else ():
            if entry.mode in _REGULAR_MODES:
                seen[entry.path, entry.object_id].append(number)
    return seen


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
        names = [name_of(name) for name in fields[position + 1 : position + 1 + num_paths]]
        if names and len(facts) == _NUM_FACTS:
            found.append(_Changed(facts[1], facts[3], names[0], names[-1]))
        position += 1 + num_paths
    return found
