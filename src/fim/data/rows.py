"""From a raw row to an example, or to the reason why it is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.data.context import ParsedContext, is_clean_text, parse_context
from fim.data.languages import normalize_language
from fim.types import FimExample

if TYPE_CHECKING:
    from collections.abc import Mapping

CODE_FIELDS = ("middle", "prefix", "suffix")
CONTEXT_FIELDS = ("context_items", "context")
LANGUAGE_FIELDS = ("lang", "language")
TEXT_FIELDS = ("path", "repo", "span_kind", "split")
ID_FIELDS = ("id", "document_id")
KNOWN_FIELDS = (
    *CODE_FIELDS,
    *CONTEXT_FIELDS,
    *LANGUAGE_FIELDS,
    *TEXT_FIELDS,
    *ID_FIELDS,
)


@dataclass(frozen=True, slots=True)
class RowProblem:
    """Why a row cannot be used.

    ``reason`` is the name under which it is counted: ``missing_middle``, ``missing_prefix``,
    ``missing_suffix``, ``wrong_type``, ``broken_json``, ``broken_utf8`` or ``row_too_large``.
    """

    reason: str
    detail: str
    location: str = ""


@dataclass(frozen=True, slots=True)
class RawRow:
    """A row as it was read: its fields, or the problem of reading it.

    ``number`` counts the rows of the whole source from 0; ``location`` is what a person looks up.
    """

    number: int
    location: str
    fields: Mapping[str, object] | None = None
    problem: RowProblem | None = None


@dataclass(frozen=True, slots=True)
class ParsedRow:
    """A usable row and what happened to its context."""

    example: FimExample
    context: ParsedContext


def parse_row(fields: Mapping[str, object], *, default_id: str = "") -> ParsedRow | RowProblem:
    """Read the columns ``prefix, middle, suffix`` and, when present, context, language and names.

    The texts are taken exactly as they are: nothing is stripped and no line ending is changed. An
    empty middle is a valid answer (nothing to insert).
    """
    problem = _check(fields)
    if problem is not None:
        return problem
    middle = str(fields["middle"])
    context = parse_context(_first(fields, CONTEXT_FIELDS), middle=middle)
    language = _first(fields, LANGUAGE_FIELDS)
    example = FimExample(
        prefix=str(fields["prefix"]),
        middle=middle,
        suffix=str(fields["suffix"]),
        context=context.items,
        language=normalize_language(str(language)) if language is not None else "",
        path=_optional(fields, "path"),
        repo=_optional(fields, "repo"),
        id=_optional(fields, "id") or default_id,
        document_id=_optional(fields, "document_id") or "",
        span_kind=_optional(fields, "span_kind") or "",
        split=_optional(fields, "split") or "",
    )
    return ParsedRow(example, context)


def _check(fields: Mapping[str, object]) -> RowProblem | None:
    for name in CODE_FIELDS:
        if fields.get(name) is None:
            seen = ", ".join(map(str, list(fields)[:8])) or "none"
            return RowProblem(f"missing_{name}", f"no {name}; fields seen: {seen}")
    for name in (*CODE_FIELDS, *LANGUAGE_FIELDS, *TEXT_FIELDS, *ID_FIELDS):
        value = fields.get(name)
        if value is None or (name in ID_FIELDS and type(value) is int):
            continue
        if not isinstance(value, str):
            return RowProblem("wrong_type", f"{name} is {type(value).__name__}, not text")
        if not is_clean_text(value):
            return RowProblem("broken_utf8", f"{name} holds a lone surrogate")
    return None


def _first(fields: Mapping[str, object], names: tuple[str, ...]) -> object:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _optional(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    return None if value is None else str(value)
