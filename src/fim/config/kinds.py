"""Kinds of values that several settings share, each with its own gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

_JOINS = frozenset({"AND", "OR", "WITH"})
_NOT_IN_NAMES = frozenset(" \t\r\n[]()\"'")


def expanded(text: str) -> str:
    """Return a path with the ``~`` or ``~USER`` at its front replaced by that home folder.

    Raises:
        ValueError: There is no such home folder.
    """
    if not text.startswith("~"):
        return text
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        message = f"there is no home folder for {text.split('/', maxsplit=1)[0]}"
        raise ValueError(message) from error
    return str(path)


def _with_a_name(value: object) -> object:
    """Refuse an empty text, which a path would read as the working folder."""
    if isinstance(value, str) and not value.strip():
        message = "an empty path names nothing"
        raise ValueError(message)
    return value


def _expanded_path(path: Path | None) -> Path | None:
    return None if path is None else Path(expanded(str(path)))


def _plain_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse names that hold blanks, quotes or brackets: a list in a spelling not read here."""
    odd = [name for name in names if not name or _NOT_IN_NAMES & set(name)]
    if odd:
        message = f"{odd[0]!r} is not one name"
        raise ValueError(message)
    return names


def _licence_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse several licences in one name; an SPDX expression is one."""
    odd = [name for name in names if len(words := name.split()) > 1 and not _JOINS & set(words)]
    if odd:
        message = f"{odd[0]!r} is not one licence"
        raise ValueError(message)
    return names


SettingPath = Annotated[Path, BeforeValidator(_with_a_name), AfterValidator(_expanded_path)]
OptionalPath = Annotated[Path | None, BeforeValidator(_with_a_name), AfterValidator(_expanded_path)]
NameOrFolder = Annotated[str, AfterValidator(expanded)]
Names = Annotated[tuple[str, ...], AfterValidator(_plain_names)]
Licences = Annotated[tuple[str, ...], AfterValidator(_licence_names)]
