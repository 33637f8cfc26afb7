"""The files that settings come from, read into text and variables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream
from dotenv.variables import parse_variables

from fim.config.problems import Problem, ProblemKind

ENV_FILE = ".env"


def read_env_file(cwd: Path, env: Mapping[str, str]) -> tuple[dict[str, str], tuple[Problem, ...]]:
    """Return the variables of ``.env``, with ``${NAME}`` filled in, and its unreadable lines."""
    path = cwd / ENV_FILE
    if not path.is_file():
        return {}, ()
    text, problem = read_text(path, ENV_FILE)
    if problem:
        return {}, (problem,)
    variables: dict[str, str] = {}
    problems: list[Problem] = []
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:
            problems.append(
                broken_file(
                    ENV_FILE,
                    f"line {binding.original.line} is not NAME=VALUE",
                    "correct the line, or put # before it",
                )
            )
        elif binding.key is not None:
            known = {**variables, **env}
            atoms = parse_variables(binding.value or "")
            variables[binding.key] = "".join(atom.resolve(known) for atom in atoms)
    return variables, tuple(problems)


def read_text(path: Path, name: str) -> tuple[str, Problem | None]:
    """Return the UTF-8 text of a file, a byte order mark removed, or why it cannot be had."""
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        return "", broken_file(name, reason, "make it a readable file, or remove it")
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        reason = f"line {line} is not UTF-8: byte 0x{data[error.start]:02x}"
        return "", broken_file(name, reason, "save the file as UTF-8")


def broken_file(name: str, reason: str, hint: str) -> Problem:
    """Return the problem of a file that cannot be used as a whole or in part."""
    return Problem(
        ProblemKind.INVALID, name, f"{name}: {reason}, so its settings cannot be used", hint
    )
