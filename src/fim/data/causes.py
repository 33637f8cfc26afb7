"""Why no row of a file can be used, where the file itself is the cause."""

from __future__ import annotations

import ast
import json
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.data.rows import CODE_FIELDS
from fim.data.sniffing import open_utf8, sniff
from fim.data.sources import SIDE_FILES
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

_LOOKED_AT_BYTES = 65_536
_READ_BYTES = 50_000_000
_FROM_PYTHON = (
    'python -c "import ast, json, sys; [print(json.dumps(ast.literal_eval(line))) '
    'for line in open(sys.argv[1]) if line.strip()]" {path} > rows.jsonl'
)
_FROM_COLUMNS = (
    'python -c "import json, sys; t = json.load(open(sys.argv[1])); [print(json.dumps(dict(zip(t, '
    'r)))) for r in zip(*(c.values() if isinstance(c, dict) else c for c in t.values()))]" '
    "{path} > rows.jsonl"
)


@dataclass(frozen=True, slots=True)
class Cause:
    """What a file is in place of rows, and the command that makes rows of it."""

    path: Path
    what: str
    hint: str


def explain(path: Path, dropped: Mapping[str, int]) -> Cause | None:
    """Return what a file is whose every row was dropped; None where its rows are the cause.

    Args:
        path: The file.
        dropped: Counts of its rows by reason.
    """
    if path.name.lower() in SIDE_FILES:
        return Cause(
            path,
            "a file that describes a data set",
            f"give the folder: {shlex.quote(str(path.parent))}",
        )
    try:
        form = sniff(path)
        with open_utf8(path, form) as stream:
            text = stream.read(_LOOKED_AT_BYTES).decode("utf-8", "replace")
    except (OSError, SourceNotFoundError):
        return None
    commonest = max(dropped, key=lambda reason: dropped[reason], default="")
    for is_it, what, hint in _CAUSES:
        if is_it(text, commonest):
            return Cause(path, what, hint.replace("{path}", shlex.quote(str(path))))
    return None


def _is_python(text: str, commonest: str) -> bool:
    if commonest != "broken_json":
        return False
    try:
        return isinstance(ast.literal_eval(text.strip().partition("\n")[0]), dict)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _is_by_columns(text: str, commonest: str) -> bool:
    if commonest != "wrong_type":
        return False
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(
        isinstance(found.get(name), list | dict) for name in CODE_FIELDS
    )


def _is_other_encoding(_text: str, commonest: str) -> bool:
    return commonest == "broken_utf8"


def _is_too_long(_text: str, commonest: str) -> bool:
    return commonest == "row_too_large"


def _is_plain(text: str, commonest: str) -> bool:
    return commonest in {"broken_json", "wrong_type"} and not text.lstrip().startswith(("{", "["))


_CAUSES: tuple[tuple[Callable[[str, str], bool], str, str], ...] = (
    (_is_python, "written as Python, with other quotes than JSON", _FROM_PYTHON),
    (_is_by_columns, "one table by columns, not rows", _FROM_COLUMNS),
    (
        _is_other_encoding,
        "in another encoding than UTF-8",
        "iconv -f WINDOWS-1252 -t UTF-8 {path} > rows.jsonl",
    ),
    (
        _is_too_long,
        "of rows that are too long",
        f"raise the limit: FIM_DATA_MAX_ROW_BYTES={_READ_BYTES}",
    ),
    (
        _is_plain,
        "plain text, not rows of JSON",
        "make rows of a folder of code: fim data build PATH --out DIR",
    ),
)
