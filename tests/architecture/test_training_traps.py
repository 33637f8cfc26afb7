"""Every trap of the table has a test that exists, or a stated reason."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "concepts" / "training-traps.md"
NUM_TRAPS = 29
ROW = re.compile(r"^\| (\d+) \|(.*)\|$", re.MULTILINE)
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")


def functions_in(name: str) -> set[str]:
    found = [path for path in (ROOT / "tests").rglob(name) if "architecture" not in path.parts]
    found = found or list((ROOT / "tests" / "architecture").glob(name))
    assert len(found) == 1, f"{name} names {len(found)} files"
    tree = ast.parse(found[0].read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_row_names_tests_or_a_reason() -> None:
    rows = {int(number): text for number, text in ROW.findall(PAGE.read_text("utf-8"))}
    assert sorted(rows) == list(range(1, NUM_TRAPS + 1))
    for number, text in rows.items():
        assert NAMED.search(text) or "Reason: " in text, f"row {number}"


def test_every_named_test_exists() -> None:
    known: dict[str, set[str]] = {}
    named = NAMED.findall(PAGE.read_text(encoding="utf-8"))
    assert named
    for file, name in named:
        assert name in known.setdefault(file, functions_in(file)), f"{file}::{name}"
