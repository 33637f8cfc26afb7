"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py")) + sorted((ROOT / "scripts").glob("*.py"))
ALLOWED_COMMENT = re.compile(
    r"#(!| noqa: [A-Z0-9, ]+| type: ignore\[[a-z-]+(, ?[a-z-]+)*\]| pragma: no cover)"
)
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_DOOR_LINES = 25


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_no_inline_comment(path: Path) -> None:
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline)
    comments = [
        f"line {token.start[0]}: {token.string}"
        for token in tokens
        if token.type == tokenize.COMMENT and not ALLOWED_COMMENT.match(token.string)
    ]
    assert comments == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_sizes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_FILE_LINES
    long_functions = [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES
    ]
    assert long_functions == []


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_every_public_name_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    missing = [] if ast.get_docstring(tree) or path.stat().st_size == 0 else ["module"]
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            members = node.body if isinstance(node, ast.ClassDef) else []
            public = [node] + [
                member
                for member in members
                if isinstance(member, ast.FunctionDef) and not member.name.startswith("_")
            ]
            missing += [item.name for item in public if not ast.get_docstring(item)]
    assert missing == []


@pytest.mark.parametrize("door", ["train.py", "infer.py"])
def test_scripts_are_doors(door: str) -> None:
    assert len((ROOT / "scripts" / door).read_text(encoding="utf-8").splitlines()) <= MAX_DOOR_LINES


@pytest.mark.parametrize(
    "module", ["fim", "fim.cli.app", "fim.formats", "fim.corpus", "fim.config"]
)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    heavy = ("torch", "transformers", "trl", "peft", "datasets", "unsloth", "matplotlib")
    code = f"import {module}, sys; print([m for m in {heavy!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"


def test_only_the_formats_spell_control_tokens() -> None:
    spelled = re.compile(
        r"<\|(fim_|im_start|im_end|endoftext|file_sep|repo_name)|<reponame>|<file_sep>"
    )
    allowed = {"formats", "training/masking.py", "corpus"}
    offenders = []
    for path in SOURCES:
        relative = path.relative_to(ROOT / "src/fim") if "src" in path.parts else path
        if any(str(relative).startswith(prefix) for prefix in allowed):
            continue
        if spelled.search(path.read_text(encoding="utf-8")):
            offenders.append(str(relative))
    assert offenders == []


def test_no_file_speaks_of_a_machine() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\0")
    places = re.compile(r"(/home/[a-z]+/|/root/|file:///)")
    offenders = []
    for name in filter(None, listed):
        path = ROOT / name
        if path == Path(__file__) or path.suffix in {".png", ".svg"} or not path.is_file():
            continue
        if places.search(path.read_text(encoding="utf-8", errors="replace")):
            offenders.append(name)
    assert offenders == []
