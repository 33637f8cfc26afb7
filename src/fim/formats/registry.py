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
from fim.formats.chat_native import ChatMlNativeFormat
from fim.formats.families import CHAT_FAMILIES, QWEN_SENTINELS
from fim.formats.plain import LeftToRightFormat
from fim.formats.psm import InfillFormat, PsmFormat, RepoFormat
from fim.formats.sentinel_families import (
    ADDED_FAMILY,
    ALL_PLAIN_FAMILIES,
    CODESTRAL_FAMILIES,
    INFILL_FAMILIES,
    PSM_FAMILIES,
    REPO_FAMILIES,
    SPM2_FAMILIES,
    SPM_FAMILIES,
)
from fim.formats.spm import CodestralFormat, Spm2Format, SpmFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def _build_chatml_native(anchor_lines: int) -> tuple[FimFormat, ...]:
    return (ChatMlNativeFormat(QWEN_SENTINELS, CHAT_FAMILIES[0], anchor_lines),)


def _build_psm(anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(PsmFormat(tokens, anchor_lines) for tokens in PSM_FAMILIES)


def _build_repo(anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(RepoFormat(tokens, anchor_lines) for tokens in REPO_FAMILIES)


def _build_infill(anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(InfillFormat(tokens, anchor_lines) for tokens in INFILL_FAMILIES)


def _build_spm(_anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(SpmFormat(tokens) for tokens in SPM_FAMILIES)


def _build_spm2(_anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(Spm2Format(tokens) for tokens in SPM2_FAMILIES)


def _build_codestral(_anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(CodestralFormat(tokens) for tokens in CODESTRAL_FAMILIES)


def _build_left_to_right(_anchor_lines: int) -> tuple[FimFormat, ...]:
    return tuple(LeftToRightFormat(tokens) for tokens in ALL_PLAIN_FAMILIES)


FORMATS: tuple[FormatEntry, ...] = (
    FormatEntry("chatml", "a chat question with the hole in a fence", _build_chatml),
    FormatEntry(
        "chatml-native",
        "sentinel tokens inside a chat turn, as Qwen3-Coder documents it",
        _build_chatml_native,
        can_anchor=True,
    ),
    FormatEntry(
        "psm", "prefix, suffix, middle between sentinel tokens", _build_psm, can_anchor=True
    ),
    FormatEntry("spm", "plain SPM: suffix, prefix, middle token", _build_spm),
    FormatEntry("spm2", "joint SPM: both sentinels first, the prefix last", _build_spm2),
    FormatEntry("codestral", "Codestral's SPM: suffix, prefix, no middle token", _build_codestral),
    FormatEntry(
        "repo", "psm under the repository's name and the file's path", _build_repo, can_anchor=True
    ),
    FormatEntry("infill", "what llama.cpp's /infill sends", _build_infill, can_anchor=True),
    FormatEntry("left-to-right", "the prefix alone, a baseline", _build_left_to_right),
)

SHOWN_REASONS = 3


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


def can_anchor(name: str) -> bool:
    """Tell whether a format can have anchor lines; a name that is not known has none."""
    return any(entry.can_anchor for entry in FORMATS if entry.name == name)


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


def resolve_format(
    name: str, vocabulary: Vocabulary, *, anchor_lines: int = 0, is_extended: bool = False
) -> ResolvedFormat:
    """Bind a format to a tokenizer, in the first family whose control tokens are all there.

    Args:
        name: Name in the registry.
        vocabulary: The tokenizer.
        anchor_lines: Lines above the cursor's line that stand last in the prompt.
        is_extended: The tokenizer was given the control tokens that it lacked (``add_tokens``), so
            they may stand under any id.

    Raises:
        UnknownFormatError: The registry does not hold the name.
        ConflictingSettingsError: Anchor lines were asked of a format that has no anchor.
        FormatUnsupportedError: No family's control tokens stand in the tokenizer as single tokens
            with the expected ids.
    """
    variants = build_formats(name, anchor_lines=anchor_lines)
    problems: dict[str, tuple[str, ...]] = {}
    missing_share: dict[str, float] = {}
    for variant in variants:
        if variant.family == ADDED_FAMILY and not is_extended:
            continue
        found = tuple(_find_problems(variant, vocabulary))
        if not found:
            return _bind(variant, vocabulary)
        problems[variant.family] = found
        missing_share[variant.family] = len(found) / len(variant.control_tokens)
    closest = sorted(problems, key=lambda family: missing_share[family])
    told = "; ".join(f"as {family}: {problems[family][0]}" for family in closest[:SHOWN_REASONS])
    more = f"; and {len(closest) - SHOWN_REASONS} more" if len(closest) > SHOWN_REASONS else ""
    raise FormatUnsupportedError(
        f"the tokenizer cannot speak the format {name!r} ({told}{more}); a prompt with other ids "
        "would train or ask the model in a language it does not know",
        hint=_suggest(name, vocabulary),
        context={
            "format": name,
            "reasons": {family: list(found) for family, found in problems.items()},
        },
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
    problem = _first_problem(variant, vocabulary) if variant else "its family is not known here"
    if variant is None or problem:
        raise AdapterMismatchError(
            f"the adapter was trained with the format {label}, which does not fit this base "
            f"model: {problem}",
            hint=hint,
        )
    resolved = _bind(variant, vocabulary)
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


def _find_problems(variant: FimFormat, vocabulary: Vocabulary) -> Iterator[str]:
    for token, expected in variant.control_tokens.items():
        found = vocabulary.control_token_id(token)
        if found is None:
            yield f"it has no single token {token}"
        elif expected is not None and found != expected:
            yield f"its {token} has id {found} instead of {expected}"


def _first_problem(variant: FimFormat, vocabulary: Vocabulary) -> str:
    return next(_find_problems(variant, vocabulary), "")


def _bind(variant: FimFormat, vocabulary: Vocabulary) -> ResolvedFormat:
    found = {token: vocabulary.control_token_id(token) for token in variant.control_tokens}
    token_ids = {token: token_id for token, token_id in found.items() if token_id is not None}
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
        and any(
            variant.family != ADDED_FAMILY and not _first_problem(variant, vocabulary)
            for variant in entry.build(0)
        )
    ]
    if able:
        return f"formats that work with this tokenizer: {', '.join(able)}"
    return "use a base model of a family listed by: fim formats list"
