"""What ``.gitattributes`` says of files: which are generated, which are somebody else's.

git itself is asked, in a store of its own that holds nothing but these files, so that quoted
paths, macros and the order of the levels count as they do there and no repository's settings do.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

from fim.corpus import git

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ATTRIBUTES_FILE = ".gitattributes"
LOCAL_ATTRIBUTES = ".git/info/attributes"
GENERATED = "linguist-generated"
VENDORED = "linguist-vendored"
_NAMES = (GENERATED, VENDORED)
_NO = frozenset({"unset", "false", "0", "no"})
_NO_PARTS = frozenset({"", ".", "..", ".git"})
_ANSWER_FIELDS = 3


class Attributes:
    """The marks of files.

    Args:
        values: For each path the marks that are said of it, and whether they are set.
    """

    def __init__(self, values: Mapping[str, Mapping[str, bool]]) -> None:
        self._values = values

    def value(self, path: str, name: str) -> bool | None:
        """Return whether a mark is set for a file, None where nothing is said."""
        return self._values.get(path, {}).get(name)


def read_attributes(
    texts: Mapping[str, bytes], paths: Iterable[str], *, prefix: str = ""
) -> Attributes:
    """Return what attribute files say of paths; without any, git is not asked.

    Args:
        texts: Content of each ``.gitattributes`` by its path from the top; other files are passed
            over.
        paths: Paths to ask about.
        prefix: Put before each path to make it one from the top.

    Raises:
        SourceNotFoundError: git cannot answer.
    """
    given = {path: text for path, text in texts.items() if is_attributes_file(path)}
    if not given:
        return Attributes({})
    asked = [prefix + path for path in dict.fromkeys(paths) if _is_plain(prefix + path)]
    with tempfile.TemporaryDirectory(prefix="fim-marks-") as store:
        return Attributes(_ask(Path(store), given, asked, len(prefix)))


def is_attributes_file(path: str) -> bool:
    """Tell whether a file holds attributes."""
    is_tracked = path.rpartition("/")[2] == ATTRIBUTES_FILE and _is_plain(path)
    return is_tracked or path == LOCAL_ATTRIBUTES


def _ask(
    store: Path, texts: Mapping[str, bytes], paths: Iterable[str], start: int
) -> Mapping[str, Mapping[str, bool]]:
    git.run_git(store, "init", "-q", "--bare", "--template=")
    (store / "info").mkdir(exist_ok=True)
    (store / "info" / "attributes").write_bytes(texts.get(LOCAL_ATTRIBUTES, b""))
    tracked = [path for path in texts if path != LOCAL_ATTRIBUTES]
    for number, path in enumerate(tracked):
        (store / str(number)).write_bytes(texts[path].removeprefix(b"\xef\xbb\xbf"))
    numbers = "".join(f"{number}\n" for number in range(len(tracked))).encode()
    ids = git.run_git(store, "hash-object", "-w", "--no-filters", "--stdin-paths", given=numbers)
    index = b"".join(
        b"100644 %s\t%s\0" % (object_id, _bytes(path))
        for object_id, path in zip(ids.split(), tracked, strict=True)
    )
    git.run_git(store, "update-index", "-z", "--index-info", given=index)
    answer = git.run_git(
        store,
        *("check-attr", "--cached", "--stdin", "-z", *_NAMES),
        given=b"".join(_bytes(path) + b"\0" for path in paths),
    )
    fields = answer.decode("utf-8", "surrogateescape").split("\0")[:-1]
    values: dict[str, dict[str, bool]] = defaultdict(dict)
    for path, name, value in zip(*(fields[n::_ANSWER_FIELDS] for n in range(3)), strict=True):
        if value != "unspecified":
            values[path[start:]][name] = value.lower() not in _NO
    return values


def _is_plain(path: str) -> bool:
    return _NO_PARTS.isdisjoint(path.lower().split("/"))


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
