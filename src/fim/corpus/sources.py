"""Where files come from: a folder on disk, or a commit of a repository, listed and read alike."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from fim.corpus import git
from fim.corpus.disk import place_of, read_regular
from fim.corpus.guides import Guides, read_guides
from fim.corpus.history import History
from fim.corpus.reasons import DropReason
from fim.corpus.walk import Walk, walk

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from fim.corpus.notices import Notice

_SUBMODULE = "160000"
_REASONS_OF_MODES = {"120000": DropReason.SYMLINK, _SUBMODULE: DropReason.SUBMODULE}


@dataclass(frozen=True, slots=True)
class SourceEntry:
    """A file under a root, not read yet.

    Args:
        path: Path relative to the root, with forward slashes.
        reason: Why it can be no source file, when its kind alone tells.
        object_id: Git object id, empty for files on disk.
        lines: Pairs of first and last line (from 1) that alone may hold holes; None allows all.
        family: Files of one family are versions of each other and stand on one side.
        history: When this version was made and which commits it stood before, where git tells.
    """

    path: str
    reason: DropReason | None = None
    object_id: str = ""
    lines: tuple[tuple[int, int], ...] | None = None
    family: str = ""
    history: History | None = None


class Source(Protocol):
    """A root that lists its files and reads them."""

    @property
    def kind(self) -> str:
        """Return ``git`` or ``folder``."""
        ...

    @property
    def commit(self) -> str | None:
        """Return the commit that is read, if any."""
        ...

    @property
    def place(self) -> ContentPlace:
        """Return where contents can be read again."""
        ...

    @property
    def prefix(self) -> str:
        """Return the root's path from the top of its repository, with a slash at its end."""
        ...

    @property
    def is_walked(self) -> bool:
        """Tell whether the root is a folder that no repository tracks."""
        ...

    @property
    def notices(self) -> Sequence[Notice]:
        """Return what is to be said of the files that were listed."""
        ...

    def guides(self) -> Guides:
        """Return the files that say something about others, those above the root too."""
        ...

    def repositories(self) -> Sequence[str]:
        """Return the paths of repositories below the root whose files it does not list."""
        ...

    def submodules(self) -> Sequence[str]:
        """Return the paths of the root's submodules, whose files it does not list."""
        ...

    def entries(self) -> Sequence[SourceEntry]:
        """Return every file, sorted by path."""
        ...

    def size_bytes(self, entry: SourceEntry) -> int:
        """Return a file's size."""
        ...

    def read(self, entry: SourceEntry) -> bytes:
        """Return a file's content."""
        ...

    def __enter__(self) -> Self:
        """Open what reading needs."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close what reading needed."""
        ...


@dataclass(frozen=True, slots=True)
class ContentPlace:
    """Where contents are read from, small enough to be handed to another process.

    Args:
        kind: ``git`` or ``folder``.
        root: The folder.
    """

    kind: str
    root: str

    def open(self) -> Source:
        """Return a source that reads contents and lists nothing."""
        if self.kind == GitSource.kind:
            return GitSource(Path(self.root), "", ())
        return FolderSource(Path(self.root))


class FolderSource:
    """Files on disk below a folder; links are listed and never followed.

    Args:
        root: The folder.
        only: Paths of the files to list, with a slash at the end of those that are repositories;
            None walks the folder.
        skip: A folder that is never listed.
        around: The repository whose marks, ignore rules and licences count for the files.
    """

    kind = "folder"
    commit = None
    notices: Sequence[Notice] = ()

    def __init__(
        self,
        root: Path,
        *,
        only: Sequence[str] | None = None,
        skip: Path | None = None,
        around: GitSource | None = None,
    ) -> None:
        self._root = root
        self._only = only
        self._skip = skip
        self._around = around
        self.is_walked = only is None
        self.prefix = "" if around is None else around.prefix

    @property
    def place(self) -> ContentPlace:
        """Return where contents can be read again."""
        return ContentPlace(self.kind, str(self._root))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the git processes, where there are any."""
        if self._around is not None:
            self._around.__exit__(kind, error, trace)

    def entries(self) -> Sequence[SourceEntry]:
        """Return every file below the root, sorted by path, other repositories left out."""
        return tuple(SourceEntry(path, reason) for path, reason in self._found.files)

    def repositories(self) -> Sequence[str]:
        """Return the paths of repositories met below the root."""
        return self._found.repositories

    def submodules(self) -> Sequence[str]:
        """Return nothing: no commit names any."""
        return ()

    def guides(self) -> Guides:
        """Return the files that say something about others."""
        if self._around is not None:
            return self._around.guides()
        return read_guides(self, ((entry.path, entry) for entry in self.entries()))

    def size_bytes(self, entry: SourceEntry) -> int:
        """Return a file's size without following a link."""
        return os.lstat(self._root / place_of(entry.path)).st_size

    def read(self, entry: SourceEntry) -> bytes:
        """Return a file's content; a link or a special file at this path is an error.

        Raises:
            OSError: The file is gone, unreadable or no regular file.
        """
        path = self._root / place_of(entry.path)
        if not path.parent.resolve().is_relative_to(self._root):
            raise OSError(f"{entry.path} lies in a folder that links out of the root")
        return read_regular(str(path))

    @cached_property
    def _found(self) -> Walk:
        if self._only is None:
            return walk(self._root, skip=self._skip)
        skipped = None if self._skip is None else self._skip.resolve()
        kept = [
            path
            for path in sorted(self._only)
            if skipped is None
            or not (self._root / place_of(path)).absolute().is_relative_to(skipped)
        ]
        files = tuple((path, self._reason(path)) for path in kept if not path.endswith("/"))
        return Walk(files, tuple(path[:-1] for path in kept if path.endswith("/")))

    def _reason(self, path: str) -> DropReason | None:
        try:
            mode = os.lstat(self._root / place_of(path)).st_mode
        except OSError:
            return DropReason.UNREADABLE
        return _reason_of_mode(mode)


def _reason_of_mode(mode: int) -> DropReason | None:
    if stat.S_ISLNK(mode):
        return DropReason.SYMLINK
    if not stat.S_ISREG(mode):
        return DropReason.NOT_A_FILE
    return None


class GitSource:
    """The files of one commit, read from git's objects and not from the work tree."""

    kind = "git"
    is_walked = False

    def __init__(self, root: Path, commit: str, tree: Sequence[git.TreeEntry]) -> None:
        self._root = root
        self._tree = tree
        self._blobs = git.BlobReader(root)
        self.commit = commit
        self.prefix = git.prefix_of(root) if commit else ""
        self.notices: list[Notice] = []

    @property
    def place(self) -> ContentPlace:
        """Return where contents can be read again."""
        return ContentPlace(self.kind, str(self._root))

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the git processes."""
        self._blobs.close()

    def entries(self) -> Sequence[SourceEntry]:
        """Return every entry of the commit, sorted by path."""
        lacking = git.missing_objects(self._root, self.commit)
        return tuple(
            replace(entry, reason=DropReason.NOT_IN_CLONE)
            if entry.object_id in lacking and entry.reason is None
            else entry
            for entry in map(_entry_of, self._tree)
        )

    def repositories(self) -> Sequence[str]:
        """Return the paths of repositories that lie in the work tree and are not of the commit."""
        if not git.has_work_tree(self._root):
            return ()
        entries = self._state()
        known = {entry.path for entry in entries if entry.mode == _SUBMODULE}
        known |= {folder for entry in entries for folder in _folders_above(entry.path)}
        return tuple(path for path in walk(self._root).repositories if path not in known)

    def submodules(self) -> Sequence[str]:
        """Return the paths of the commit's submodules."""
        return tuple(entry.path for entry in self._state() if entry.mode == _SUBMODULE)

    def guides(self) -> Guides:
        """Return the commit's files that say something about others, those above the root too."""
        above = [
            (entry.path, _entry_of(entry))
            for folder in ("", *(f"{path}/" for path in _folders_above(self.prefix[:-1])))
            if self.prefix
            for entry in git.list_level(self._root, self.commit, folder)
        ]
        own = [(self.prefix + entry.path, _entry_of(entry)) for entry in self._state()]
        return read_guides(self, (*above, *own), local=git.local_attributes(self._root))

    def size_bytes(self, entry: SourceEntry) -> int:
        """Return a file's size in the commit."""
        return self._blobs.size_bytes(entry.object_id)

    def read(self, entry: SourceEntry) -> bytes:
        """Return a file's content in the commit."""
        return self._blobs.read(entry.object_id)

    def _state(self) -> Sequence[git.TreeEntry]:
        self._tree = self._tree or git.list_tree(self._root, self.commit)
        return self._tree


def _entry_of(entry: git.TreeEntry) -> SourceEntry:
    return SourceEntry(entry.path, _REASONS_OF_MODES.get(entry.mode), entry.object_id)


def _folders_above(path: str) -> Sequence[str]:
    """Return the folders that a path lies in, outer ones first.

    >>> _folders_above("a/b/c.py")
    ['a', 'a/b']
    """
    parts = path.split("/")
    return ["/".join(parts[:number]) for number in range(1, len(parts))]
