"""Problems of the configuration: collected one by one, raised together."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum

from fim.errors import (
    ConfigError,
    ConflictingSettingsError,
    InvalidSettingError,
    UnknownSettingError,
)

LISTING_HINT = "`fim config show` lists every setting"
_CLOSE_ENOUGH = 0.6


class ProblemKind(StrEnum):
    """What is wrong with a key."""

    UNKNOWN = "unknown"
    INVALID = "invalid"
    CONFLICT = "conflict"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that must be corrected.

    Args:
        kind: What is wrong.
        key: The key as the user wrote it, or the file.
        message: What was seen and why it cannot be used.
        hint: What to write instead.
    """

    kind: ProblemKind
    key: str
    message: str
    hint: str

    def as_json(self) -> dict[str, str]:
        """Return the problem as ``fim config check --json`` prints it."""
        return {"key": self.key, "message": self.message, "hint": self.hint}


def closest(name: str, known: Collection[str]) -> str | None:
    """Return the known name closest to a misspelt one, or None when nothing is close.

    A name whose field exists in another section, such as ``train.dropout``, leads to that section.
    """
    folded = {candidate.lower(): candidate for candidate in known}
    matches = get_close_matches(name.lower(), folded, n=1, cutoff=_CLOSE_ENOUGH)
    field = name.lower().rpartition(".")[2]
    namesakes = [candidate for candidate in known if candidate.rpartition(".")[2] == field]
    if len(namesakes) == 1:
        return namesakes[0]
    return folded[matches[0]] if matches else None


def did_you_mean(name: str, known: Collection[str], otherwise: str = LISTING_HINT) -> str:
    """Return the hint for a misspelt name."""
    match = closest(name, known)
    return f"did you mean {match}?" if match else otherwise


def unknown_key(name: str, place: str, known: Collection[str]) -> Problem:
    """Return the problem of a key that nothing reads.

    Args:
        name: The key as the user wrote it.
        place: Where it was written, such as ``fim.toml``.
        known: Names that would have been read there.
    """
    return Problem(
        kind=ProblemKind.UNKNOWN,
        key=name,
        message=f"{name} ({place}) is not a setting, so its value would be ignored",
        hint=did_you_mean(name, known),
    )


def problems_error(problems: Sequence[Problem]) -> ConfigError:
    """Return the one error that tells all problems.

    Its context lists them as ``problems``: ``key``, ``message`` and ``hint`` of each.
    """
    kinds = {problem.kind for problem in problems}
    error_type: type[ConfigError] = InvalidSettingError
    if kinds == {ProblemKind.UNKNOWN}:
        error_type = UnknownSettingError
    elif kinds == {ProblemKind.CONFLICT}:
        error_type = ConflictingSettingsError
    context = {"problems": [problem.as_json() for problem in problems]}
    if len(problems) == 1:
        return error_type(problems[0].message, hint=problems[0].hint, context=context)
    lines = [f"{len(problems)} problems in the configuration, so nothing was started:"]
    for problem in problems:
        lines += [f"  - {problem.message}", f"    {problem.hint}"]
    return error_type(
        "\n".join(lines),
        hint="correct them, then look again with `fim config check`",
        context=context,
    )
