"""The roots of a build under names of their own, those met while walking included."""

from __future__ import annotations

from dataclasses import dataclass
from posixpath import normpath
from typing import TYPE_CHECKING

from fim.corpus import git
from fim.corpus.disk import name_of, place_of
from fim.corpus.notices import Notice, build_command, command_of, counted, listed, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from fim.corpus.scan import Source

ITSELF = "./"


@dataclass(frozen=True, slots=True)
class Root:
    """A folder, a repository or a file that is read.

    Args:
        name: Its name in the data set.
        path: Its path, as the person wrote it.
        base: Its path from the given root that it was met in, with a slash at its end.
    """

    name: str
    path: Path
    base: str = ""

    @property
    def folder(self) -> Path:
        """The folder that its files' paths are relative to."""
        resolved = self.path.expanduser().resolve()
        return resolved.parent if resolved.is_file() else resolved


def named_roots(paths: Sequence[Path]) -> tuple[Root, ...]:
    """Return each path as a root named by its folder, numbered where two are alike."""
    found: list[Root] = []
    for path in paths:
        found.append(Root(unique_name(path, {root.name for root in found}), path))
    return tuple(found)


def unique_name(path: Path, taken: Collection[str]) -> str:
    """Return the name of a path's folder, numbered where it is taken."""
    folder = Root("", path).folder
    plain = name_of(folder.name).removesuffix(".git").encode("utf-8", "replace").decode() or "root"
    name, number = plain, 2
    while name in taken:
        name = f"{plain}-{number}"
        number += 1
    return name


def told_repositories(
    root: Root, paths: Sequence[Path], given: Sequence[Path], out: Path | None
) -> Notice:
    """Return what is said of repositories that lie in a repository and are no part of it.

    Args:
        root: The repository.
        paths: Those in it.
        given: The roots of the build.
        out: The folder that the build writes.
    """
    names = listed([shown(path) for path in paths])
    return Notice(
        f"{counted(len(paths), 'repository', 'repositories')} in {root.name} are no part of it "
        f"and are left out: {names}",
        build_command((*given, *paths), out),
    )


def told_submodules(
    root: Root, source: Source, paths: Sequence[str], given: Sequence[Path], out: Path | None
) -> Notice:
    """Return what is said of a repository's submodules, with the command that takes them.

    Args:
        root: The repository.
        source: Its commit.
        paths: The submodules, relative to the root; ``./`` is a root that is one itself and is
            not checked out.
        given: The roots of the build.
        out: The folder that the build writes.
    """
    message = f"{counted(len(paths), 'submodule')} of {root.name} left out: {listed(paths)}"
    folders = [root.path / place_of(path) for path in paths]
    if not git.has_work_tree(root.folder):
        clone = root.path.with_name(f"{root.name}-with-submodules")
        first = command_of("git", "clone", "--recurse-submodules", root.path, clone)
        taken = (clone, *(clone / place_of(path) for path in paths))
        return Notice(message, f"{first} && {build_command(taken, out)}")
    absent = [path for path, folder in zip(paths, folders, strict=True) if not git.is_top(folder)]
    known = git.submodule_paths(root.folder, str(source.commit))
    unknown = [path for path in absent if normpath(source.prefix + path) not in known]
    if unknown:
        message += f"; no .gitmodules tells where {listed(unknown)} come from"
    fetched = [path for path in absent if path not in unknown]
    first = command_of("git", "-C", root.path, "submodule", "update", "--init", "--", *fetched)
    own = [folder for path, folder in zip(paths, folders, strict=True) if path not in unknown]
    command = build_command(dict.fromkeys((*given, *own)), out) if own else ""
    return Notice(message, f"{first} && {command}" if fetched else command)
