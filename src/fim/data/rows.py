"""From a raw row to an example, or to the reason why it is none.

Strict on what is trained on (prefix, middle, suffix), lenient on labels: a label that cannot be
read is left out and counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.data.context import ParsedContext, is_clean_text, parse_context
from fim.data.languages import normalize_language
from fim.data.sides import side_of_row
from fim.types import FimExample

if TYPE_CHECKING:
    from collections.abc import Sequence

CODE_FIELDS = ("middle", "prefix", "suffix")
CONTEXT_FIELDS = ("context_items", "context")
LANGUAGE_FIELDS = ("lang", "language")
TEXT_FIELDS = ("path", "repo", "span_kind")
ID_FIELDS = ("id", "document_id")
SPLIT_FIELD = "split"
KNOWN_FIELDS = (
    *CODE_FIELDS,
    *CONTEXT_FIELDS,
    *LANGUAGE_FIELDS,
    *TEXT_FIELDS,
    *ID_FIELDS,
    SPLIT_FIELD,
)
DEFAULTED_SUFFIX = "field_defaulted: suffix"
_SHOWN_CHARS = 40
_SHOWN_FIELDS = 8


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row cannot be used.

    ``reason`` is the name under which it is counted: ``missing_middle``, ``missing_prefix``,
    ``missing_suffix``, ``wrong_type``, ``broken_json``, ``broken_utf8`` or ``row_too_large``.
    ``sample`` is the beginning of what was there.
    """

    reason: str
    detail: str
    location: str = ""
    sample: str = ""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it was read: its fields, or the problem of reading it.

    ``number`` counts the rows of the whole source from 0; ``location`` is what a person looks up;
    ``side`` is what the row's file says about it.
    """

    number: int
    location: str
    fields: Mapping[str, object] | None = None
    problem: RowProblem | None = None
    side: str = ""


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """A usable row, what happened to its context, and remarks about its labels."""

    example: FimExample
    context: ParsedContext
    remarks: tuple[str, ...] = ()


def parse_row(
    fields: Mapping[str, object], *, default_id: str = "", file_side: str = ""
) -> ParsedRow | RowProblem:
    """Read the columns ``prefix, middle, suffix`` and, when present, context, language and names.

    The texts are taken exactly as they are: nothing is stripped and no line ending is changed. An
    empty middle is a valid answer (nothing to insert), and a suffix that is null is empty. The
    example's ``split`` is its side, empty where neither row nor file says one.
    """
    problem = _check(fields)
    if problem is not None:
        return problem
    middle = str(fields["middle"])
    is_without_suffix = _is_null(fields["suffix"])
    remarks = [DEFAULTED_SUFFIX] if is_without_suffix else []
    context = parse_context(_first(fields, CONTEXT_FIELDS), middle=middle)
    names: dict[str, str] = {}
    for name in (*LANGUAGE_FIELDS, *TEXT_FIELDS, *ID_FIELDS):
        label = _label(fields.get(name), is_id=name in ID_FIELDS)
        if label is None:
            remarks.append(f"field_ignored: {name}")
        elif label:
            names[name] = label
    example = FimExample(
        prefix=str(fields["prefix"]),
        middle=middle,
        suffix="" if is_without_suffix else str(fields["suffix"]),
        context=context.items,
        language=normalize_language(names.get("lang") or names.get("language", "")),
        path=names.get("path"),
        repo=names.get("repo"),
        id=names.get("id") or default_id,
        document_id=names.get("document_id", ""),
        span_kind=names.get("span_kind", ""),
        split=side_of_row(split_word(fields), file_side),
    )
    return ParsedRow(example, context, tuple(remarks))


def split_word(fields: Mapping[str, object]) -> str:
    """Return what the column ``split`` of a row says; whatever is no text says something unknown.

    >>> split_word({"split": "test"}), split_word({"split": 1}), split_word({"split": None})
    ('test', '1', '')
    """
    value = fields.get(SPLIT_FIELD)
    label = _label(value, is_id=True)
    return type(value).__name__ if label is None else label


def shorten_fields(fields: Mapping[str, object]) -> str:
    """Return the beginning of a row's fields, for messages."""
    parts = [
        f"{name}: {_shortened(repr(value))}" for name, value in list(fields.items())[:_SHOWN_FIELDS]
    ]
    return "{" + ", ".join(parts) + ("}" if len(fields) <= _SHOWN_FIELDS else ", …}")


def _check(fields: Mapping[str, object]) -> RowProblem | None:
    for name in CODE_FIELDS:
        is_null = name in fields and _is_null(fields[name])
        if name not in fields or (is_null and name != "suffix"):
            seen = ", ".join(map(str, list(fields)[:_SHOWN_FIELDS])) or "none"
            what = f"{name} is null" if is_null else f"no {name}"
            return RowProblem(f"missing_{name}", f"{what}; fields seen: {seen}")
    for name in CODE_FIELDS:
        value = fields[name]
        if _is_null(value):
            continue
        if not isinstance(value, str):
            return RowProblem("wrong_type", f"{name} is {type(value).__name__}, not text")
        if not is_clean_text(value):
            return RowProblem("broken_utf8", f"{name} holds a lone surrogate")
    return None


def _is_null(value: object) -> bool:
    """Tell whether a value stands for none: null, or the NaN that tables have in its place."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _label(value: object, *, is_id: bool) -> str | None:
    """Return a label as text, empty where there is none, and None where it cannot be read as one.

    An id may be a number, a date or anything else of one piece.
    """
    if _is_null(value):
        return ""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    is_whole = is_id and not isinstance(value, Mapping | list | tuple | set)
    if not isinstance(value, str) and not is_whole:
        return None
    text = str(value)
    return text if is_clean_text(text) else None


def _first(fields: Mapping[str, object], names: Sequence[str]) -> object:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
