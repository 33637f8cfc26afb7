"""The memorisation probe: the same hole with locals renamed and docstrings dropped.

A model that knows the code answers as well as before; one that recites it does not.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.evaluation.suites.base import (
    PROBE_PART,
    TEST_PART,
    TRAIN_PROBE_PART,
    SuiteItem,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fim.types import FimExample

PROBE_MARK = "probe/"
_DYNAMIC = frozenset({"locals", "eval", "exec", "vars", "globals"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Edit:
    """A replacement of the characters ``start`` to ``end``."""

    start: int
    end: int
    text: str


def probe_items(items: Sequence[SuiteItem]) -> tuple[SuiteItem, ...]:
    """Return the rewritten twins of Python items, as parts of their own."""
    found = []
    for item in items:
        example = rewrite(item.example)
        if example is not None:
            named = replace(example, id=f"{PROBE_MARK}{example.id}")
            part = PROBE_PART if item.part == TEST_PART else TRAIN_PROBE_PART
            found.append(replace(item, example=named, part=part))
    return tuple(found)


def rewrite(example: FimExample) -> FimExample | None:
    """Return the hole in the rewritten file; None where nothing changes or it is not Python.

    Local variables are renamed, parameters and whatever is seen outside a function are not, so the
    program means the same. A hole whose edge lies inside a renamed name is left out.
    """
    if example.language.lower() != "python":
        return None
    whole = example.prefix + example.middle + example.suffix
    hole = (len(example.prefix), len(example.prefix) + len(example.middle))
    try:
        tree = ast.parse(whole)
    except (SyntaxError, ValueError, RecursionError):
        return None
    offsets = _Offsets(whole)
    renames = [edit for found in _outermost(tree) for edit in _renames(found, offsets)]
    if any(edit.start < edge < edit.end for edit in renames for edge in hole):
        return None
    dropped = [
        edit
        for edit in _docstrings(tree, offsets, whole)
        if edit.end <= hole[0] or edit.start >= hole[1]
    ]
    gone = [(edit.start, edit.end) for edit in dropped]
    kept = [edit for edit in renames if not any(a <= edit.start < b for a, b in gone)]
    edits = sorted({*kept, *dropped}, key=lambda edit: edit.start)
    if not edits:
        return None
    prefix = _applied(whole, 0, hole[0], edits)
    middle = _applied(whole, hole[0], hole[1], edits)
    suffix = _applied(whole, hole[1], len(whole), edits)
    return replace(example, prefix=prefix, middle=middle, suffix=suffix)


class _Offsets:
    """Turns the places of ``ast`` (line from 1, column in UTF-8 bytes) into character offsets."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    def at(self, line: int, column: int) -> int:
        text = self._lines[line - 1]
        return self._starts[line - 1] + len(text.encode("utf-8")[:column].decode("utf-8"))


def _outermost(node: ast.AST) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield child
        else:
            yield from _outermost(child)


def _renames(function: Function, offsets: _Offsets) -> list[Edit]:
    names = [node for node in ast.walk(function) if isinstance(node, ast.Name)]
    if any(node.id in _DYNAMIC for node in names):
        return []
    stored = dict.fromkeys(node.id for node in names if isinstance(node.ctx, ast.Store))
    fixed = _fixed_names(function)
    used = {node.id for node in names} | fixed
    chosen: dict[str, str] = {}
    for name in stored:
        if name in fixed or name.startswith("__"):
            continue
        number = len(chosen)
        while f"var_{number}" in used:
            number += 1
        chosen[name] = f"var_{number}"
        used.add(chosen[name])
    found = []
    for node in names:
        if node.id in chosen:
            start = offsets.at(node.lineno, node.col_offset)
            found.append(Edit(start, start + len(node.id), chosen[node.id]))
    return found


def _fixed_names(function: Function) -> set[str]:
    """Return the names that must stay: parameters, outer names, and those ``ast`` cannot place."""
    found: set[str] = set()
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            found.add(node.arg)
        elif isinstance(node, ast.Global | ast.Nonlocal):
            found.update(node.names)
        elif isinstance(node, Function | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).partition(".")[0])
        elif isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.JoinedStr):
            found.update(each.id for each in ast.walk(node) if isinstance(each, ast.Name))
        if isinstance(node, ast.ClassDef):
            found.update(each.id for each in ast.walk(node) if isinstance(each, ast.Name))
    return found


def _docstrings(tree: ast.AST, offsets: _Offsets, whole: str) -> Iterator[Edit]:
    for node in ast.walk(tree):
        if not isinstance(node, Function | ast.ClassDef) or len(node.body) < 2:  # noqa: PLR2004
            continue
        first = node.body[0]
        is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
        if not is_text or ast.get_docstring(node, clean=False) is None:
            continue
        start = offsets.at(first.lineno, first.col_offset)
        end = offsets.at(first.end_lineno or first.lineno, first.end_col_offset or 0)
        line_start = whole.rfind("\n", 0, start) + 1
        line_end = whole.find("\n", end)
        if not whole[line_start:start].strip() and not whole[end:line_end].strip():
            yield Edit(line_start, line_end + 1, "")


def _applied(whole: str, start: int, end: int, edits: Sequence[Edit]) -> str:
    parts = []
    place = start
    for edit in edits:
        if edit.start >= start and edit.end <= end and edit.start >= place:
            parts += [whole[place : edit.start], edit.text]
            place = edit.end
    return "".join([*parts, whole[place:end]])
