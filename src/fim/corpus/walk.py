"""Walk a folder: its files, and the repositories met on the way, which are not entered."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.disk import name_of, place_of
from fim.corpus.reasons import DropReason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_VERSION_CONTROL_FOLDERS = frozenset({".git", ".hg", ".svn", ".jj"})
_OF_GIT = frozenset({"HEAD", "objects", "refs", "config", "commondir", "index", "packed-refs"})
_OF_BARE = frozenset({"HEAD", "objects", "refs"})


@dataclass(frozen=True, slots=True)
class Walk:
    """What lies below a folder.

    Args:
        files: Path of each file relative to the folder, and why it can be no source file.
        repositories: Paths of folders that are repositories of their own, bare ones too.
    """

    files: tuple[tuple[str, DropReason | None], ...]
    repositories: tuple[str, ...]


def walk(root: Path, *, skip: Path | None = None) -> Walk:
    """Return what lies below a folder; links are listed and never followed.

    Args:
        root: The folder; that it is a repository itself is not looked at.
        skip: A folder that is left out.
    """
    files: list[tuple[str, DropReason | None]] = []
    repositories: list[str] = []
    skipped = None if skip is None else str(skip.resolve())
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(os.path.join(root, place_of(folder))) as listing:  # noqa: PTH118
                children = [child for child in listing if child.path != skipped]
        except OSError:
            files.append((folder or ".", DropReason.UNREADABLE))
            continue
        if folder and _is_repository(children):
            repositories.append(folder)
            continue
        for child in children:
            name = name_of(child.name)
            path = f"{folder}/{name}" if folder else name
            if child.is_symlink():
                files.append((path, DropReason.SYMLINK))
            elif child.is_file(follow_symlinks=False):
                files.append((path, None))
            elif not child.is_dir(follow_symlinks=False):
                files.append((path, DropReason.NOT_A_FILE))
            elif name not in _VERSION_CONTROL_FOLDERS:
                pending.append(path)
    return Walk(tuple(sorted(files, key=lambda item: item[0])), tuple(sorted(repositories)))


def _is_repository(children: Sequence[os.DirEntry[str]]) -> bool:
    names = {child.name: child for child in children}
    if ".git" in names:
        return _is_of_git(names[".git"])
    return names.keys() >= _OF_BARE and all(
        names[name].is_dir(follow_symlinks=False) for name in ("objects", "refs")
    )


def _is_of_git(entry: os.DirEntry[str]) -> bool:
    """Tell whether a ``.git`` is git's: a file, a link, or a folder that is empty or looks so."""
    if not entry.is_dir(follow_symlinks=False):
        return True
    try:
        names = set(os.listdir(entry.path))  # noqa: PTH208
    except OSError:
        return True
    return not names or bool(names & _OF_GIT)
