"""What a source file imports, and which of the files at hand that means."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from sys import intern
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_PYTHON = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>\.*[\w.]*)[ \t]+import[ \t]+(?P<names>\([^)]{0,4000}\)|[^\n]+)"
    r"|import[ \t]+(?P<plain>[\w., \t]+))",
    re.MULTILINE,
)
_QUOTED = re.compile(r"""(?:\bfrom|\bimport|\brequire\()\s*['"](?P<target>[^'"\n]+)['"]""")
_DOTTED = re.compile(
    r"^[ \t]*(?:import|use|using)[ \t]+(?:static[ \t]+|function[ \t]+)?(?P<target>[\w.\\]+)",
    re.MULTILINE,
)
_GO = re.compile(
    r"^[ \t]*(?:import[ \t]+)?(?:[\w.]+[ \t]+)?\"(?P<target>[\w./-]+)\"[ \t\r]*$", re.MULTILINE
)
_RUST = re.compile(
    r"^[ \t]*(?:pub(?:\([^)\n]*\))?[ \t]+)?(?:use|mod)[ \t]+(?P<target>[\w:]+)", re.MULTILINE
)
_INCLUDE = re.compile(
    r"^[ \t]*#[ \t]*(?:include|import)[ \t]*[\"<](?P<target>[^\">\n]+)[\">]", re.MULTILINE
)
_RUBY = re.compile(
    r"^[ \t]*require(?P<here>_relative)?[ \t(]*['\"](?P<target>[^'\"\n]+)['\"]", re.MULTILINE
)
_BASH = re.compile(r"^[ \t]*(?:source|\.)[ \t]+[\"']?(?P<target>[^\"'\s;]+)", re.MULTILINE)
_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "Python": _PYTHON,
    "JavaScript": _QUOTED,
    "TypeScript": _QUOTED,
    "TSX": _QUOTED,
    "Vue": _QUOTED,
    "Svelte": _QUOTED,
    "Astro": _QUOTED,
    "HTML": _QUOTED,
    "Java": _DOTTED,
    "Kotlin": _DOTTED,
    "C#": _DOTTED,
    "PHP": _DOTTED,
    "Go": _GO,
    "Rust": _RUST,
    "C": _INCLUDE,
    "C++": _INCLUDE,
    "CUDA": _INCLUDE,
    "Objective-C": _INCLUDE,
    "Ruby": _RUBY,
    "Bash": _BASH,
}
_PACKAGE_FILES = frozenset({"__init__", "index", "mod"})
_SOURCE_FOLDERS = frozenset({"src", "lib", "source", "app", "include"})
_ENDINGS = re.compile(
    r"\.(?:[cm]?[jt]sx?|vue|svelte|astro|py|rb|sh|bash|h|hh|hpp|hxx|cuh|c|cc|cpp|php)$"
)
_RUST_ROOTS = frozenset({"crate", "super", "self", ""})
_NAME = re.compile(r"\w+")
_ENOUGH_PARTS = 2
_MAX_ALIKE = 4
_MAX_COMPARED = 256
_ANYWHERE = ""


@dataclass(frozen=True, slots=True)
class Import:
    """A module that a file names.

    Args:
        parts: The module's name, in parts.
        level: Folders to go up from the file's own, counted from 1; 0 where it is not relative.
        start: Where the import stands in the text (characters).
    """

    parts: tuple[str, ...]
    level: int
    start: int


def imports_in(text: str, language: str) -> tuple[Import, ...]:
    """Return the modules that a text imports, in order; empty for languages without a rule."""
    pattern = _PATTERNS.get(language)
    if pattern is None:
        return ()
    found: dict[tuple[tuple[str, ...], int], Import] = {}
    for match in pattern.finditer(text):
        for parts, level in _targets(match, language):
            if parts or level:
                found.setdefault((parts, level), Import(parts, level, match.start()))
    return tuple(found.values())


def _targets(match: re.Match[str], language: str) -> Iterator[tuple[tuple[str, ...], int]]:
    if language == "Python":
        yield from _python_targets(match)
        return
    target = match["target"]
    if language == "Rust":
        yield tuple(part for part in target.split("::") if part not in _RUST_ROOTS), 0
    elif language in {"Java", "Kotlin", "C#", "PHP"}:
        yield tuple(part for part in re.split(r"[.\\]", target) if part), 0
    else:
        level = 1 if language == "Ruby" and match["here"] else 0
        yield _path_target(target, level)


def _python_targets(match: re.Match[str]) -> Iterator[tuple[tuple[str, ...], int]]:
    if match["plain"] is not None:
        for name in match["plain"].split(","):
            parts = tuple(name.split()[0].split(".")) if name.split() else ()
            yield tuple(filter(None, parts)), 0
        return
    module = match["module"]
    level = len(module) - len(module.lstrip("."))
    parts = tuple(filter(None, module.split(".")))
    yield parts, level
    for clause in re.sub(r"#[^\n]*", "", match["names"]).split(","):
        name = _NAME.search(clause)
        if name is not None:
            yield (*parts, name[0]), level


def _path_target(target: str, level: int) -> tuple[tuple[str, ...], int]:
    parts = [part for part in _ENDINGS.sub("", target).split("/") if part]
    while parts and parts[0] in {".", ".."}:
        level = max(level, 1) + (parts[0] == "..")
        parts.pop(0)
    return tuple(parts), level


class ModuleTable:
    """Finds the files that imports mean, among the files it was given.

    Args:
        places: Repository, path and language of each file.
    """

    def __init__(self, places: Iterable[tuple[str, str, str]]) -> None:
        self._places: list[tuple[str, tuple[str, ...]]] = []
        self._modules: list[tuple[str, ...]] = []
        self._exact: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
        self._by_tail: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        self._at_top: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._packages: set[tuple[str, tuple[str, ...]]] = set()
        for number, (repo, path, language) in enumerate(places):
            folders = tuple(map(intern, _folders(path)))
            parts = folders if language == "Go" else tuple(map(intern, module_parts(path)))
            self._places.append((repo, folders))
            self._modules.append(parts)
            self._exact[repo, parts].append(number)
            for scope in (repo, _ANYWHERE):
                self._add_tail(scope, parts, number)
            if path.endswith("/__init__.py"):
                self._packages.add((repo, folders))

    def _add_tail(self, scope: str, parts: tuple[str, ...], number: int) -> None:
        if len(parts) >= _ENOUGH_PARTS:
            tail = self._by_tail[scope, parts[-2], parts[-1]]
            if len(tail) < _MAX_COMPARED:
                tail.append(number)
        if len(parts) == 1 or (parts and parts[-2] in _SOURCE_FOLDERS):
            top = self._at_top[scope, parts[-1]]
            if len(top) < _MAX_ALIKE:
                top.append(number)

    def links(self, imports: Sequence[Import], importer: int) -> tuple[tuple[int, int], ...]:
        """Return where each import of a file stands, and the number of each file that it means.

        A file of the same repository is preferred; of files that fit alike, four are returned.
        """
        found = {
            (item.start, number): None
            for item in imports
            for number in self._resolve(item, importer)
            if number != importer
        }
        return tuple(found)

    def _resolve(self, item: Import, importer: int) -> Sequence[int]:
        repo, folders = self._places[importer]
        if item.level:
            base = folders[: max(len(folders) - item.level + 1, 0)]
            return self._exact.get((repo, (*base, *item.parts)), ())[:_MAX_ALIKE]
        for scope in (repo, _ANYWHERE):
            for parts in (item.parts, item.parts[:-1]):
                found = self._named(scope, parts, importer)
                if found:
                    return found[:_MAX_ALIKE]
        return ()

    def _named(self, scope: str, parts: tuple[str, ...], importer: int) -> Sequence[int]:
        if not parts:
            return ()
        if len(parts) == 1:
            return self._beside(parts[0], importer) or self._at_top.get((scope, parts[0]), ())
        alike = self._by_tail.get((scope, parts[-2], parts[-1]), ())
        shared = [_common_tail(parts, self._modules[number]) for number in alike]
        most = max(shared, default=0)
        return [number for number, count in zip(alike, shared, strict=True) if count == most]

    def _beside(self, name: str, importer: int) -> Sequence[int]:
        place = self._places[importer]
        return () if place in self._packages else self._exact.get((place[0], (*place[1], name)), ())


def module_parts(path: str) -> tuple[str, ...]:
    """Return a file's module name in parts; a package's own file stands for its folder.

    >>> module_parts("src/app/__init__.py")
    ('src', 'app')
    """
    pure = PurePosixPath(path)
    parts = (*pure.parts[:-1], pure.name.split(".")[0])
    return parts[:-1] if parts[-1] in _PACKAGE_FILES else parts


def _folders(path: str) -> tuple[str, ...]:
    return PurePosixPath(path).parts[:-1]


def _common_tail(first: tuple[str, ...], second: tuple[str, ...]) -> int:
    count = 0
    for one, two in zip(reversed(first), reversed(second), strict=False):
        if one != two:
            break
        count += 1
    return count
