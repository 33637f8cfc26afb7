"""Open roots: a folder is walked, a repository is read at a commit, never outside the root."""

from __future__ import annotations

import sysconfig
from pathlib import Path

from fim.corpus import git
from fim.corpus.disk import name_of, place_of
from fim.corpus.notices import build_command, command_of, counted
from fim.corpus.sources import FolderSource, GitSource, Source, SourceEntry
from fim.corpus.walk import walk
from fim.errors import SourceNotFoundError

__all__ = [
    "STANDARD_LIBRARY_EXCLUDE",
    "FolderSource",
    "GitSource",
    "Source",
    "SourceEntry",
    "existing_folder",
    "open_source",
    "require_commit",
    "require_no_repository",
    "stdlib_root",
]

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
        return FolderSource(folder.parent, only=(name_of(folder.name),), around=_around(folder))
    own_repository = (folder / ".git").exists()
    if not git.git_available():
        require_no_repository(folder, own_repository)
        return FolderSource(folder, skip=skip)
    if own_repository and not git.is_top(folder):
        raise SourceNotFoundError(
            f"{folder} has a .git that git cannot read, so its tracked files are unknown; "
            "git status says why, and a new clone has none of it",
            hint=command_of("git", "-C", folder, "status"),
        )
    head = git.head_commit(folder)
    if head is not None:
        tree = git.list_tree(folder, head)
        if tree or git.is_top(folder):
            return GitSource(folder, head, tree)
    elif git.inside_repository(folder):
        listed = git.list_untracked_and_index(folder)
        if listed or git.is_top(folder):
            return FolderSource(folder, only=listed, skip=skip)
    return FolderSource(folder, skip=skip)


def _around(file: Path) -> GitSource | None:
    """Return the repository that tracks a file, with what stands beside it; None without one."""
    folder = file.parent
    head = git.head_commit(folder) if git.git_available() else None
    tree = git.list_tree(folder, head) if head is not None else ()
    beside = [entry for entry in tree if "/" not in entry.path]
    is_tracked = any(entry.path == name_of(file.name) for entry in beside)
    return GitSource(folder, head, beside) if is_tracked and head is not None else None


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
        why, hint = _without_commit(folder, is_repository)
        raise SourceNotFoundError(
            f"{folder} cannot be read at {revision}: it {why}, so its state then is unknown",
            hint=hint,
        )
    return commit


def _without_commit(folder: Path, is_repository: bool) -> tuple[str, str]:
    """Return why a folder has no such commit, and what to do."""
    if not is_repository:
        below = walk(folder).repositories if folder.is_dir() else ()
        if below:
            number = counted(len(below), "repository", "repositories")
            paths = [folder / place_of(path) for path in below]
            why = f"is no git repository, and holds {number}, which can be given with these options"
            return why, build_command(paths, None)
        advice = "give a git repository, or leave --commit, --from-commits and --split time out"
        return "is no git repository", advice
    if git.head_commit(folder) is None:
        return "has no commit yet, hence no such commit", command_of("git", "-C", folder, "status")
    if git.cut_commits(folder):
        fetch = command_of("git", "-C", folder, "fetch", "--unshallow", "--tags")
        return "has no such commit, and is a shallow clone", fetch
    return "has no such commit", command_of("git", "-C", folder, "log", "--oneline")


def require_no_repository(folder: Path, own_repository: bool) -> None:
    """Refuse to walk a repository where no git tells what it ignores.

    Raises:
        SourceNotFoundError: The folder is a repository.
    """
    if own_repository:
        raise SourceNotFoundError(
            f"{folder} is a git repository and no git command is installed; "
            "walking it would take in files that it ignores",
            hint="install git",
        )
