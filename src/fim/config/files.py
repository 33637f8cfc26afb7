"""The files that settings come from, read into text and variables."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from dotenv.parser import parse_stream
from dotenv.variables import parse_variables

from fim.config.fields import ENV_PREFIX
from fim.config.problems import Problem, ProblemKind

ENV_FILE = ".env"
_QUOTES = ("'", '"')


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


def folded_variables(
    variables: Mapping[str, str],
) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the ``FIM_`` variables by their names in capitals, and how each was written.

    The name in capitals wins over its other spellings.
    """
    spellings: dict[str, list[str]] = {}
    for name in variables:
        if name.upper().startswith(ENV_PREFIX):
            spellings.setdefault(name.upper(), []).append(name)
    values = {
        name: variables[name if name in written else written[0]]
        for name, written in spellings.items()
    }
    return values, spellings


def unquoted(text: str) -> str:
    """Return a text without the pair of quotes around it that docker and others keep."""
    inner = text.strip()
    if len(inner) > 1 and inner[0] in _QUOTES and inner[0] == inner[-1]:
        return inner[1:-1]
    return text


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
