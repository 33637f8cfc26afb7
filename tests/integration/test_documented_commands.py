"""Every command in the documents is one that the program takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from fim.cli.app import make_app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CLAUDE.md"]
PAGES += sorted(path for path in (ROOT / "docs").rglob("*.md") if path.name != "cli.md")
BLOCK = re.compile(r"```(?:sh|bash|console)\n(.*?)```", re.DOTALL)
OTHERS = {"cd", "cp", "export", "git", "hf", "mypy", "pip", "pytest", "python", "ruff"}
LAUNCHERS = {"accelerate", "torchrun"}
DOORS = {"scripts/train.py": "train", "scripts/infer.py": "complete"}


def shown_commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("#"):
                    yield page.name, line.strip()


def arguments_of(line: str) -> list[str]:
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words and words[0].endswith("/fim"):
        words[0] = "fim"
    if words[:1] == ["python"] and words[1] in DOORS:
        return ["fim", DOORS[words[1]], *words[2:]]
    return words


@pytest.mark.parametrize(("page", "line"), list(shown_commands()))
def test_the_program_takes_a_shown_command(page: str, line: str) -> None:
    words = arguments_of(line)
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert re.search(rf"^{re.escape(words[1])}:", makefile, re.MULTILINE), line
        return
    if words[0] != "fim":
        assert words[0] in OTHERS | LAUNCHERS, line
        return
    command = typer.main.get_command(make_app())
    parent = None
    rest = words[1:]
    while hasattr(command, "commands"):
        assert rest, f"{page}: {line} names no command"
        name = rest.pop(0)
        assert name in command.commands, f"{page}: there is no {name} in {line}"
        command = command.commands[name]
    context = command.make_context(words[1], rest, parent=parent)
    assert context.params
