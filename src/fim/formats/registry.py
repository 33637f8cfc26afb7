"""The list of formats, and how a name becomes a format bound to a tokenizer."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.errors import (
    AdapterMismatchError,
    ConflictingSettingsError,
    FormatUnsupportedError,
    UnknownFormatError,
)
from fim.formats.base import FimFormat, FormatSummary, ResolvedFormat
from fim.formats.chat import ChatMlFormat
from fim.formats.families import CHAT_FAMILIES, PLAIN_FAMILIES, SENTINEL_FAMILIES
from fim.formats.plain import LeftToRightFormat
from fim.formats.psm import PsmFormat

if TYPE_CHECKING:
    from collections.abc import Callable

    from fim.formats.record import FormatRecord
    from fim.types import Vocabulary


@dataclass(frozen=True, slots=True)
class FormatEntry:
    """A format of the registry: its name and how it is built for each family."""

    name: str
    summary: str
    build: Callable[[int], tuple[FimFormat, ...]]
    can_anchor: bool = False


def _build_chatml(_anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(ChatMlFormat(tokens) for tokens in CHAT_FAMILIES)


def _build_psm(anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(PsmFormat(tokens, anchor_lines) for tokens in SENTINEL_FAMILIES)


def _build_left_to_right(_anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(LeftToRightFormat(tokens) for tokens in PLAIN_FAMILIES)


FORMATS: tuple[FormatEntry, ...] = (
    FormatEntry("chatml", "a chat question with the hole in a fence", _build_chatml),
    FormatEntry(
        "psm", "prefix, suffix, middle between sentinel tokens", _build_psm, can_anchor=True
    ),
    FormatEntry("left-to-right", "the prefix alone, a baseline", _build_left_to_right),
)


def format_names() -> tuple[str, ...]:
    """Return the names of all formats."""
    return tuple(entry.name for entry in FORMATS)


def format_summaries() -> tuple[FormatSummary, ...]:
    """Return a line about every format."""
    return tuple(
        FormatSummary(
            name=entry.name,
            version=entry.build(0)[0].version,
            order=entry.build(0)[0].order,
            families=tuple(variant.family for variant in entry.build(0)),
            summary=entry.summary,
        )
        for entry in FORMATS
    )


def build_formats(name: str, *, anchor_lines: int = 0) -> tuple[FimFormat, ...]:
    """Return a format in each of its families, in the order in which they are tried.

    Raises:
        UnknownFormatError: The registry does not hold the name.
        ConflictingSettingsError: Anchor lines were asked of a format that has no anchor.
    """
    entry = _find(name)
    if anchor_lines and not entry.can_anchor:
        able = ", ".join(each.name for each in FORMATS if each.can_anchor)
        raise ConflictingSettingsError(
            f"anchor_lines={anchor_lines} has no meaning in the format {name!r}: its prompt does "
            "not end with the text before the cursor",
            hint=f"set data.anchor_lines=0, or use a format with anchors: {able}",
        )
    return entry.build(anchor_lines)


def resolve_format(name: str, vocabulary: Vocabulary, *, anchor_lines: int = 0) -> ResolvedFormat:
    """Bind a format to a tokenizer, in the first family whose control tokens are all there.

    Raises:
        UnknownFormatError: The registry does not hold the name.
        ConflictingSettingsError: Anchor lines were asked of a format that has no anchor.
        FormatUnsupportedError: No family's control tokens stand in the tokenizer as single tokens
            with the expected ids.
    """
    variants = build_formats(name, anchor_lines=anchor_lines)
    reasons: dict[str, str] = {}
    for variant in variants:
        problem = _find_problem(variant, vocabulary)
        if not problem:
            return _bind(variant)
        reasons[variant.family] = problem
    told = "; ".join(f"as {family}: {problem}" for family, problem in reasons.items())
    raise FormatUnsupportedError(
        f"the tokenizer cannot speak the format {name!r} ({told}); a prompt with other ids would "
        "train or ask the model in a language it does not know",
        hint=_suggest(name, vocabulary),
        context={"format": name, "reasons": reasons},
    )


def resolve_record(record: FormatRecord, vocabulary: Vocabulary) -> ResolvedFormat:
    """Bind the format that an adapter was trained with, refusing any other rendering.

    Raises:
        AdapterMismatchError: This version renders the format differently, or the tokenizer has
            other control tokens than the one that the adapter was trained with.
    """
    label = f"{record.name}@{record.version} ({record.family}, anchor_lines={record.anchor_lines})"
    hint = "use the base model and the fim version of the training run, or train again"
    try:
        variants = build_formats(record.name, anchor_lines=record.anchor_lines)
    except (UnknownFormatError, ConflictingSettingsError) as error:
        raise AdapterMismatchError(
            f"the adapter was trained with the format {label}, which is not known here: "
            f"{error.message}",
            hint=hint,
        ) from error
    variant = next((each for each in variants if each.family == record.family), None)
    problem = _find_problem(variant, vocabulary) if variant else "its family is not known here"
    if variant is None or problem:
        raise AdapterMismatchError(
            f"the adapter was trained with the format {label}, which does not fit this base "
            f"model: {problem}",
            hint=hint,
        )
    resolved = _bind(variant)
    if resolved.fingerprint != record.fingerprint:
        raise AdapterMismatchError(
            f"the adapter was trained with the format {label} and fingerprint "
            f"{record.fingerprint}, this version renders it as {resolved.fingerprint}: the model "
            "would be asked differently from how it was trained",
            hint=hint,
        )
    return resolved


def _find(name: str) -> FormatEntry:
    for entry in FORMATS:
        if entry.name == name:
            return entry
    close = difflib.get_close_matches(name, format_names(), n=1, cutoff=0.4)
    question = f"did you mean {close[0]!r}? " if close else ""
    raise UnknownFormatError(
        f"there is no format {name!r}; the formats are {', '.join(format_names())}",
        hint=f"{question}see: fim formats list",
        context={"format": name, "known": list(format_names())},
    )


def _find_problem(variant: FimFormat, vocabulary: Vocabulary) -> str:
    for token, expected in variant.control_tokens.items():
        found = vocabulary.control_token_id(token)
        if found is None:
            return f"it has no single token {token}"
        if found != expected:
            return f"its {token} has id {found} instead of {expected}"
    return ""


def _bind(variant: FimFormat) -> ResolvedFormat:
    token_ids = dict(variant.control_tokens)
    return ResolvedFormat(
        format=variant,
        token_ids=token_ids,
        end_id=token_ids[variant.end_token],
        stop_ids=tuple(token_ids[token] for token in variant.stop_tokens),
        pad_id=token_ids[variant.pad_token],
    )


def _suggest(name: str, vocabulary: Vocabulary) -> str:
    able = [
        entry.name
        for entry in FORMATS
        if entry.name != name
        and any(not _find_problem(variant, vocabulary) for variant in entry.build(0))
    ]
    if able:
        return f"formats that work with this tokenizer: {', '.join(able)}"
    return "use a base model of a family listed by: fim formats list"
