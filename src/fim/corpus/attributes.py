"""What ``.gitattributes`` says of files: which are generated, which are somebody else's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pathspec import GitIgnoreSpec

    from fim.corpus.scan import Source, SourceEntry

ATTRIBUTES_FILE = ".gitattributes"
GENERATED = "linguist-generated"
VENDORED = "linguist-vendored"
_NAMES = (GENERATED, VENDORED)
_NO = frozenset({"false", "0", "no"})


@dataclass(frozen=True, slots=True)
class _Rule:
    folder: str
    matcher: GitIgnoreSpec
    values: Mapping[str, bool]


class Attributes:
    """The marks of one root's files.

    Args:
        texts: The text of each ``.gitattributes`` by its path.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._rules = tuple(
            rule
            for path in sorted(texts, key=lambda path: (path.count("/"), path))
            for rule in _rules(path, texts[path])
        )

    def value(self, path: str, name: str) -> bool | None:
        """Return whether a mark is set for a file, None where nothing is said.

        The deepest file wins, and in one file the last line.
        """
        found = None
        for rule in self._rules:
            inside = path.startswith(rule.folder)
            if name in rule.values and inside and rule.matcher.match_file(path[len(rule.folder) :]):
                found = rule.values[name]
        return found


def read_attributes(source: Source, entries: Sequence[SourceEntry]) -> Attributes:
    """Return what the ``.gitattributes`` of a root say; unreadable ones say nothing."""
    texts = {}
    for entry in entries:
        if entry.reason is None and PurePosixPath(entry.path).name == ATTRIBUTES_FILE:
            try:
                texts[entry.path] = source.read(entry).decode("utf-8", "replace")
            except OSError:
                continue
    return Attributes(texts)


def _rules(path: str, text: str) -> list[_Rule]:
    import pathspec

    folder = path[: -len(ATTRIBUTES_FILE)]
    rules = []
    for line in text.splitlines():
        pattern, *marks = line.split() or [""]
        values = dict(filter(None, map(_mark, marks)))
        if values and pattern and not pattern.startswith(("#", "!", "[attr]")):
            rules.append(_Rule(folder, pathspec.GitIgnoreSpec.from_lines([pattern]), values))
    return rules


def _mark(word: str) -> tuple[str, bool] | None:
    name, _, value = word.lstrip("-!").partition("=")
    if name not in _NAMES:
        return None
    return name, not word.startswith(("-", "!")) and value.lower() not in _NO
