"""What a source file imports, and which of the files at hand that means."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*[\"<](?P<target>[^\">\n]+)[\">]", re.MULTILINE)
_RUBY = re.compile(
    r"^[ \t]*require(?P<here>_relative)?[ \t(]*['\"](?P<target>[^'\"\n]+)['\"]", re.MULTILINE
)
_BASH = re.compile(r"^[ \t]*(?:source|\.)[ \t]+[\"']?(?P<target>[^\"'\s;]+)", re.MULTILINE)
_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "Python": _PYTHON,
    "JavaScript": _QUOTED,
    "TypeScript": _QUOTED,
    "TSX": _QUOTED,
    "Java": _DOTTED,
    "Kotlin": _DOTTED,
    "C#": _DOTTED,
    "PHP": _DOTTED,
    "Go": _GO,
    "Rust": _RUST,
    "C": _INCLUDE,
    "C++": _INCLUDE,
    "Ruby": _RUBY,
    "Bash": _BASH,
}
_PACKAGE_FILES = frozenset({"__init__", "index", "mod"})
_SOURCE_FOLDERS = frozenset({"src", "lib", "source", "app", "include"})
_ENDINGS = re.compile(r"\.(?:[cm]?[jt]sx?|py|rb|sh|bash|h|hh|hpp|hxx|c|cc|cpp|php)$")
_RUST_ROOTS = frozenset({"crate", "super", "self", ""})
_NAME = re.compile(r"\w+")
_ENOUGH_PARTS = 2


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

    def __init__(self, places: Sequence[tuple[str, str, str]]) -> None:
        self._places = tuple((repo, _folders(path)) for repo, path, _ in places)
        self._modules = tuple(
            _folders(path) if language == "Go" else module_parts(path)
            for _, path, language in places
        )
        self._by_last: dict[str, list[int]] = defaultdict(list)
        self._exact: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
        for number, parts in enumerate(self._modules):
            self._exact[places[number][0], parts].append(number)
            if parts:
                self._by_last[parts[-1]].append(number)
        self._packages = {
            (repo, _folders(path)) for repo, path, _ in places if path.endswith("/__init__.py")
        }

    def resolve(self, imports: Sequence[Import], importer: int) -> tuple[int, ...]:
        """Return the numbers of the files that a file's imports mean, in order of import."""
        found: dict[int, None] = {}
        for item in imports:
            for number in self._resolve_one(item, importer):
                if number != importer:
                    found.setdefault(number)
        return tuple(found)

    def _resolve_one(self, item: Import, importer: int) -> Sequence[int]:
        repo, folders = self._places[importer]
        if item.level:
            base = folders[: max(len(folders) - item.level + 1, 0)]
            return self._exact.get((repo, (*base, *item.parts)), ())
        for parts in (item.parts, item.parts[:-1]):
            common = {
                number: self._num_common(parts, number, importer)
                for number in self._by_last.get(parts[-1] if parts else "", ())
            }
            most = max(common.values(), default=0)
            if most:
                return [number for number, shared in common.items() if shared == most]
        return ()

    def _num_common(self, parts: tuple[str, ...], number: int, importer: int) -> int:
        module = self._modules[number]
        shared = _common_tail(parts, module)
        if shared >= _ENOUGH_PARTS:
            return shared
        if len(parts) != shared:
            return 0
        own = self._places[importer]
        is_top = len(module) == 1 or module[-2] in _SOURCE_FOLDERS
        is_beside = self._places[number] == own and own not in self._packages
        return shared if is_top or is_beside else 0


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
