"""Which files ``.fimignore`` and the command line leave out, level by level as git does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pathspec import GitIgnoreSpec

IGNORE_FILE = ".fimignore"
Level = tuple[str, tuple[str, ...]]


class IgnoreRules:
    """Patterns of several folders, each of which counts below its own.

    The last pattern that matches decides. What lies in a folder that is left out is left out too,
    whatever a later pattern says of it.

    Args:
        levels: Folder (empty, or with a slash at its end) and its patterns, outer levels first.
        start: Put before every path that is asked about.
    """

    def __init__(self, levels: Iterable[Level], start: str = "") -> None:
        self._start = start
        self._levels = tuple((folder, _compile(lines)) for folder, lines in levels if lines)
        self._folders: dict[str, bool] = {"": False}

    def match_file(self, path: str) -> bool:
        """Tell whether a file is left out."""
        full = self._start + path
        return self._folder(full.rpartition("/")[0]) or self._decide(full)

    def _folder(self, folder: str) -> bool:
        if folder not in self._folders:
            above, is_out = "", False
            for part in folder.split("/"):
                above = f"{above}/{part}" if above else part
                is_out = is_out or self._decide(f"{above}/")
                self._folders[above] = is_out
        return self._folders[folder]

    def _decide(self, path: str) -> bool:
        found = False
        for folder, spec in self._levels:
            if path.startswith(folder) and path != folder:
                include = spec.check_file(path[len(folder) :]).include
                found = found if include is None else include
        return found


def ignore_levels(texts: Mapping[str, bytes], base: str = "") -> tuple[Level, ...]:
    """Return the patterns of every ``.fimignore``, outer levels first.

    Args:
        texts: Content of files by path.
        base: Put before every folder.
    """
    found = [path for path in texts if path.rpartition("/")[2] == IGNORE_FILE]
    return tuple(
        (base + path[: -len(IGNORE_FILE)], _lines(texts[path]))
        for path in sorted(found, key=lambda path: (path.count("/"), path))
    )


def _lines(content: bytes) -> tuple[str, ...]:
    text = content.decode("utf-8-sig", "replace")
    return tuple(line.removesuffix("\r") for line in text.split("\n"))


def is_pattern(line: str) -> bool:
    """Tell whether a line is a pattern or a comment, and not one that git passes over."""
    import pathspec

    try:
        pathspec.GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def _compile(lines: Iterable[str]) -> GitIgnoreSpec:
    import pathspec

    return pathspec.GitIgnoreSpec.from_lines(filter(is_pattern, lines))
