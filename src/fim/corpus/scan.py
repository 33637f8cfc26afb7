"""Find the files of folders and git repositories, and read them, never outside the given roots."""

from __future__ import annotations

import os
import stat
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

from fim.corpus import git
from fim.corpus.history import History
from fim.corpus.reasons import DropReason
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

STANDARD_LIBRARY_EXCLUDE: tuple[str, ...] = (
    "test/",
    "tests/",
    "idle_test/",
    "site-packages/",
    "dist-packages/",
    "__pycache__/",
    "__phello__/",
    "lib-dynload/",
    "config-*/",
    "turtledemo/",
)
IGNORE_FILE = ".fimignore"
_VERSION_CONTROL_FOLDERS = frozenset({".git", ".hg", ".svn", ".jj"})


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


def stdlib_root() -> Path:
    """Return the folder of the running interpreter's standard library."""
    return Path(sysconfig.get_paths()["stdlib"]).resolve()


def open_source(root: Path, *, skip: Path | None = None, revision: str | None = None) -> Source:
    """Return the way to read a root: its HEAD commit when git tracks files there, else the folder.

    Args:
        root: A folder, a repository (bare ones too), a folder inside a repository, or one file.
        skip: A folder that is never listed, such as the output.
        revision: A commit, branch or tag to read in place of HEAD.

    Raises:
        SourceNotFoundError: The root is missing, is a repository that git cannot read, or has no
            such commit.
    """
    folder = existing_folder(root)
    if revision is not None:
        commit = require_commit(folder, revision)
        return GitSource(folder, commit, git.list_tree(folder, commit))
    if folder.is_file():
        return FolderSource(folder.parent, only=(folder.name,))
    own_repository = (folder / ".git").exists()
    if not git.git_available():
        _require_no_repository(folder, own_repository)
        return FolderSource(folder, skip=skip)
    head = git.head_commit(folder)
    if head is not None:
        tree = git.list_tree(folder, head)
        if tree or own_repository:
            return GitSource(folder, head, tree)
    elif own_repository:
        _require_readable_repository(folder)
        return FolderSource(folder, only=git.list_untracked_and_index(folder), skip=skip)
    return FolderSource(folder, skip=skip)


def existing_folder(root: Path) -> Path:
    """Return a root's resolved path.

    Raises:
        SourceNotFoundError: The root is missing.
    """
    folder = root.expanduser()
    if not folder.exists():
        raise SourceNotFoundError(
            f"{root} does not exist, so there are no files to build from",
            hint="give a folder or a git repository that exists",
        )
    return folder.resolve()


def require_commit(folder: Path, revision: str) -> str:
    """Return the id of a commit of the repository that holds a folder.

    Raises:
        SourceNotFoundError: The folder is in no repository, or the repository has no such commit.
    """
    is_repository = folder.is_dir() and git.git_available() and git.inside_repository(folder)
    commit = git.resolve_commit(folder, revision) if is_repository else None
    if commit is None:
        why = "has no such commit" if is_repository else "is no git repository"
        raise SourceNotFoundError(
            f"{folder} cannot be read at {revision}: it {why}, so its state then is unknown",
            hint=f"git -C {folder} log --oneline"
            if is_repository
            else "give a git repository, or leave --commit, --from-commits and --split time out",
        )
    return commit


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


def _require_no_repository(folder: Path, own_repository: bool) -> None:
    if own_repository:
        raise SourceNotFoundError(
            f"{folder} is a git repository and no git command is installed; "
            "walking it would take in files that it ignores",
            hint="install git",
        )


def _require_readable_repository(folder: Path) -> None:
    if not git.inside_repository(folder):
        raise SourceNotFoundError(
            f"{folder} has a .git that git cannot read, so its tracked files are unknown",
            hint=f"git -C {folder} fsck, or build from a fresh clone",
        )


class FolderSource:
    """Files on disk below a folder; links are listed and never followed."""

    kind = "folder"
    commit = None

    def __init__(
        self, root: Path, *, only: Sequence[str] | None = None, skip: Path | None = None
    ) -> None:
        self._root = root
        self._only = only
        self._skip = str(skip.resolve()) if skip is not None else None

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
        """Do nothing: no file stays open."""

    def entries(self) -> Sequence[SourceEntry]:
        """Return every file below the root, sorted by path, version control folders left out."""
        found = self._walk() if self._only is None else self._listed(self._only)
        return tuple(sorted(found, key=lambda entry: entry.path))

    def size_bytes(self, entry: SourceEntry) -> int:
        """Return a file's size without following a link."""
        return os.lstat(self._root / entry.path).st_size

    def read(self, entry: SourceEntry) -> bytes:
        """Return a file's content; a link or a special file at this path is an error.

        Raises:
            OSError: The file is gone, unreadable or no regular file.
        """
        path = self._root / entry.path
        if not path.parent.resolve().is_relative_to(self._root):
            raise OSError(f"{entry.path} lies in a folder that links out of the root")
        descriptor = os.open(path, os.O_RDONLY | _no_follow_flags())
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(f"{entry.path} is not a regular file")
            return file.read()

    def _skipped(self, path: str) -> bool:
        if self._skip is None:
            return False
        full = os.path.join(self._root, path)  # noqa: PTH118
        return full == self._skip or full.startswith(self._skip + os.sep)

    def _listed(self, paths: Sequence[str]) -> Iterator[SourceEntry]:
        return (self._entry(path) for path in paths if not self._skipped(path))

    def _entry(self, path: str) -> SourceEntry:
        try:
            mode = os.lstat(self._root / path).st_mode
        except OSError:
            return SourceEntry(path, DropReason.UNREADABLE)
        return SourceEntry(path, _reason_of_mode(mode))

    def _walk(self) -> Iterator[SourceEntry]:
        pending = [""]
        while pending:
            folder = pending.pop()
            try:
                with os.scandir(self._root / folder) as listing:
                    children = list(listing)
            except OSError:
                yield SourceEntry(folder or ".", DropReason.UNREADABLE)
                continue
            for child in children:
                path = f"{folder}/{child.name}" if folder else child.name
                if self._skipped(path):
                    continue
                if child.is_symlink():
                    yield SourceEntry(path, DropReason.SYMLINK)
                elif child.is_file(follow_symlinks=False):
                    yield SourceEntry(path)
                elif not child.is_dir(follow_symlinks=False):
                    yield SourceEntry(path, DropReason.NOT_A_FILE)
                elif child.name not in _VERSION_CONTROL_FOLDERS:
                    pending.append(path)


def _no_follow_flags() -> int:
    return getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def _reason_of_mode(mode: int) -> DropReason | None:
    if stat.S_ISLNK(mode):
        return DropReason.SYMLINK
    if not stat.S_ISREG(mode):
        return DropReason.NOT_A_FILE
    return None


class GitSource:
    """The files of one commit, read from git's objects and not from the work tree."""

    kind = "git"

    def __init__(self, root: Path, commit: str, tree: Sequence[git.TreeEntry]) -> None:
        self._root = root
        self._tree = tree
        self._blobs = git.BlobReader(root)
        self.commit = commit

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
        reasons = {"120000": DropReason.SYMLINK, "160000": DropReason.SUBMODULE}
        return tuple(
            SourceEntry(entry.path, reasons.get(entry.mode), entry.object_id)
            for entry in self._tree
        )

    def size_bytes(self, entry: SourceEntry) -> int:
        """Return a file's size in the commit."""
        return self._blobs.size_bytes(entry.object_id)

    def read(self, entry: SourceEntry) -> bytes:
        """Return a file's content in the commit."""
        return self._blobs.read(entry.object_id)
