"""Another valid value for any setting, found from what is known about its field."""

from __future__ import annotations

import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Union, get_args, get_origin

from pydantic import SecretStr, ValidationError

from fim.config import Settings, known_settings, setting_values
from fim.config.settings import section_types


def other_value(key: str, own: object, folder: Path) -> object:
    """Return a value that the field of a setting takes and that is not its own."""
    section, name = key.split(".")
    field = section_types()[section].model_fields[name]
    for value in _candidates(field.annotation, own, folder):
        try:
            checked = Settings.model_validate({section: {name: value}})
        except ValidationError:
            continue
        if dict(setting_values(checked))[key] != own:
            return value
    message = f"no other value for {key}"
    raise AssertionError(message)


def as_setting(value: object) -> str:
    """Return a value as ``--set`` spells it."""
    if isinstance(value, tuple | list):
        return ",".join(str(each) for each in value)
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def every_key() -> list[str]:
    """Return every setting."""
    return list(known_settings())


def _candidates(kind: object, own: object, folder: Path) -> Iterator[object]:
    parts = get_args(kind)
    if get_origin(kind) is Annotated:
        yield from _candidates(parts[0], own, folder)
    elif get_origin(kind) in {types.UnionType, Union}:
        for each in parts:
            yield from _candidates(each, own, folder)
    elif get_origin(kind) is Literal:
        yield from parts
    base = own if isinstance(own, int | float) else 0.5
    plain: dict[object, tuple[object, ...]] = {
        bool: (True, False),
        int: (int(base) + 1, int(base) - 1, 64),
        float: (base / 2 + 0.01, base / 2 + 0.001, 0.25),
        Path: (folder / "elsewhere",),
        str: ("other",),
        SecretStr: ("other",),
        tuple: (("one",), ("two", "three")),
    }
    yield from plain.get(get_origin(kind) or kind, ())
