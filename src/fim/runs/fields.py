"""Strict reading of a run's JSON files: every surprise is an error that names file and key."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fim.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Fields:
    """A JSON object and where it was read, with accessors that check types.

    Numbers that are not finite read as missing.
    """

    values: Mapping[str, object]
    where: str

    def text(self, key: str, default: str | None = None) -> str:
        """Return a string.

        Raises:
            RunFolderError: the key is missing without a default, or holds something else.
        """
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self._wrong(key, value, "a text")
        return value

    def number(self, key: str) -> float:
        """Return a finite number.

        Raises:
            RunFolderError: the key is missing or holds something else.
        """
        value = self.optional_number(key)
        if value is None:
            raise self._wrong(key, self.values.get(key), "a finite number")
        return value

    def optional_number(self, key: str) -> float | None:
        """Return a number, or None when it is missing, null or not finite.

        Raises:
            RunFolderError: the key holds something else.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(key, value, "a number")
        return float(value) if math.isfinite(value) else None

    def count(self, key: str) -> int:
        """Return a whole number.

        Raises:
            RunFolderError: the key is missing or holds something else.
        """
        value = self.optional_count(key)
        if value is None:
            raise self._wrong(key, None, "a whole number")
        return value

    def optional_count(self, key: str) -> int | None:
        """Return a whole number, or None when it is missing or null.

        Raises:
            RunFolderError: the key holds something else.
        """
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._wrong(key, value, "a whole number")
        return value

    def optional_flag(self, key: str) -> bool | None:
        """Return a boolean, or None when it is missing or null.

        Raises:
            RunFolderError: the key holds something else.
        """
        value = self.values.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(key, value, "true or false")

    def fields(self, key: str) -> Fields:
        """Return an object; an empty one when it is missing or null.

        Raises:
            RunFolderError: the key holds something else.
        """
        value = self.values.get(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise self._wrong(key, value, "an object")
        return Fields(cast("dict[str, object]", value), f"{self.where}, {key}")

    def rows(self, key: str) -> tuple[Fields, ...]:
        """Return a list of objects; empty when it is missing or null.

        Raises:
            RunFolderError: the key holds something else.
        """
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
            raise self._wrong(key, value, "a list of objects")
        return tuple(Fields(row, f"{self.where}, {key}[{i}]") for i, row in enumerate(value))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; empty when it is missing or null.

        Raises:
            RunFolderError: the key holds something else.
        """
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise self._wrong(key, value, "a list of texts")
        return tuple(value)

    def counts(self, key: str) -> dict[str, int]:
        """Return an object of whole numbers; empty when it is missing or null.

        Raises:
            RunFolderError: the key holds something else.
        """
        inner = self.fields(key)
        return {name: inner.count(name) for name in inner.values}

    def named_texts(self, key: str) -> dict[str, str]:
        """Return an object of strings; empty when it is missing or null.

        Raises:
            RunFolderError: the key holds something else.
        """
        inner = self.fields(key)
        return {name: inner.text(name) for name in inner.values}

    def _value(self, key: str, default: object) -> object:
        value = self.values.get(key)
        return default if value is None else value

    def _wrong(self, key: str, value: object, wanted: str) -> RunFolderError:
        seen = "missing" if value is None else f"{str(value)[:80]!r}"
        return RunFolderError(
            f"{self.where}: `{key}` is {seen} where {wanted} is needed, "
            "so nothing can be told from this file.",
            hint="the file was written by another version or edited: run the evaluation again.",
            context={"file": self.where, "key": key},
        )


def read_object(path: Path) -> Fields:
    """Read a JSON file that holds one object.

    Raises:
        RunFolderError: the file is missing, unreadable, broken, or holds something else.
    """
    return _as_fields(_parsed(_read_text(path), str(path)), str(path))


def read_optional_object(path: Path) -> Fields:
    """Read a JSON object; an empty one when the file does not exist.

    Raises:
        RunFolderError: the file is unreadable, broken, or holds something else.
    """
    return read_object(path) if path.exists() else Fields({}, str(path))


def read_rows(path: Path) -> tuple[Fields, ...]:
    """Read a file of one JSON object a line.

    A broken last line without a line end is left out: a run that was killed while it wrote leaves
    such a line.

    Raises:
        RunFolderError: the file is missing, unreadable, broken, or holds something else.
    """
    lines = _read_text(path).split("\n")
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            rows.append(_as_fields(_parsed(line, where), where))
        except RunFolderError:
            if number < len(lines):
                raise
    return tuple(rows)


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise RunFolderError(
            f"{path} is missing, so nothing can be told from it.",
            hint="list the runs with `fim runs list`, or finish this one first.",
            context={"file": str(path)},
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise RunFolderError(
            f"{path} cannot be read: {error}.",
            hint="check the file's permissions and that it is the file the run wrote.",
            context={"file": str(path)},
        ) from error


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise RunFolderError(
            f"{where} is not JSON ({error}), so nothing can be told from it.",
            hint="the write was cut short or the file edited: run the command that wrote it again.",
            context={"file": where},
        ) from error


def _as_fields(value: object, where: str) -> Fields:
    if not isinstance(value, dict):
        raise RunFolderError(
            f"{where} holds {type(value).__name__} where an object is needed, "
            "so nothing can be told from it.",
            hint="the file is not one that a run writes: run the command that wrote it again.",
            context={"file": where},
        )
    return Fields(value, where)
