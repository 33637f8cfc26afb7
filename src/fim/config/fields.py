"""How a setting is declared, and what is known about it: unit, range, default, variable."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, Union, cast, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic.fields import FieldInfo

ENV_PREFIX = "FIM_"
NONE_WORDS = frozenset({"none", "null"})
MASK = "**********"

Value = TypeVar("Value")


class Section(BaseModel):
    """A frozen group of settings that refuses unknown fields and non-finite numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True
    )


def setting(
    default: Value,
    description: str,
    *,
    unit: str = "",
    accepts: str = "",
    example: str = "",
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    min_length: int | None = None,
) -> Value:
    """Declare a field of a section.

    Args:
        default: Value without any source.
        description: One sentence for help, documents and ``fim config explain``.
        unit: Unit of the value, such as ``tokens``.
        accepts: What the value must be, where type and bounds do not say it all.
        example: Example for the documents; the default serves when it is empty.
        ge: Lower bound, inclusive.
        gt: Lower bound, exclusive.
        le: Upper bound, inclusive.
        lt: Upper bound, exclusive.
        min_length: Least number of characters or items.
    """
    field: Value = Field(
        default,
        description=description,
        json_schema_extra={"unit": unit, "accepts": accepts, "example": example},
        ge=ge,
        gt=gt,
        le=le,
        lt=lt,
        min_length=min_length,
    )
    return field


@dataclass(frozen=True, slots=True)
class FieldFacts:
    """What is known about one setting.

    Args:
        key: Dotted name, such as ``train.learning_rate``.
        env_name: Environment variable that sets it.
        description: One sentence.
        unit: Unit of the value; empty when it has none.
        accepts: What a value must be, in words.
        default: Value without any source.
        example: Text of an example value for the documents.
        is_list: The value is a list of texts.
        is_optional: The word ``none`` unsets the value.
        is_secret: The value is never shown.
    """

    key: str
    env_name: str
    description: str
    unit: str
    accepts: str
    default: object
    example: str
    is_list: bool
    is_optional: bool
    is_secret: bool


def env_name(key: str) -> str:
    """Return the environment variable of a key: ``train.seed`` is ``FIM_TRAIN_SEED``."""
    return ENV_PREFIX + key.upper().replace(".", "_")


def field_facts(key: str, field: FieldInfo) -> FieldFacts:
    """Describe one field of a section."""
    extra = cast("Mapping[str, str]", field.json_schema_extra or {})
    kind, is_optional = _unwrap(field.annotation)
    accepts = extra["accepts"] or _accepted(kind, field.metadata)
    return FieldFacts(
        key=key,
        env_name=env_name(key),
        description=field.description or "",
        unit=extra["unit"],
        accepts=f"{accepts}, or none" if is_optional else accepts,
        default=field.default,
        example=extra["example"] or as_text(field.default),
        is_list=get_origin(kind) is tuple,
        is_optional=is_optional,
        is_secret=kind is SecretStr,
    )


def as_plain(value: object) -> object:
    """Return a setting's value as JSON-ready data, secrets masked."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [as_plain(item) for item in value]
    return value


def as_text(value: object) -> str:
    """Return a setting's value as an environment variable would spell it."""
    plain = as_plain(value)
    if plain is None:
        return "none"
    if isinstance(plain, bool):
        return str(plain).lower()
    if isinstance(plain, list):
        return ",".join(str(item) for item in plain)
    return str(plain)


def _unwrap(annotation: object) -> tuple[object, bool]:
    """Return the type of a field without None, and whether None was in it."""
    if get_origin(annotation) in {types.UnionType, Union}:
        kinds = [kind for kind in get_args(annotation) if kind is not types.NoneType]
        return kinds[0], True
    return annotation, False


def _accepted(kind: object, metadata: Sequence[object]) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) is tuple:
        return "a list of names, comma separated or JSON"
    words = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
    name = words.get(cast("type", kind), "text")
    bounds = " and ".join(_bound(item) for item in metadata if _bound(item))
    return f"{name} {bounds}" if bounds else name


def _bound(constraint: object) -> str:
    match constraint:
        case Ge(ge=value):
            return f"of at least {_number(value)}"
        case Gt(gt=value):
            return f"above {_number(value)}"
        case Le(le=value):
            return f"at most {_number(value)}"
        case Lt(lt=value):
            return f"below {_number(value)}"
        case _:
            return ""


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{cast('float', value):g}"
