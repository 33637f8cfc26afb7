"""What a build has to say besides its counts: what it found, what it left out, how to take it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.disk import name_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_MOST_NAMED = 20


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence for the person who builds.

    Args:
        message: What was found and what it means.
        hint: A command that changes it; empty where nothing needs a change.
    """

    message: str
    hint: str = ""

    def as_json(self) -> dict[str, str]:
        """Return JSON-ready text."""
        return {"message": self.message, "hint": self.hint}


def command_of(*words: str | Path) -> str:
    """Return a command as a shell takes it, every word quoted that needs it.

    >>> command_of("git", "-C", "my app", "fsck")
    "git -C 'my app' fsck"
    """
    return shlex.join(word if isinstance(word, str) else shown(word) for word in words)


def shown(path: Path) -> str:
    """Return a path as text for people, whatever the locale."""
    return name_of(str(path))


def build_command(paths: Iterable[str | Path], out: Path | None) -> str:
    """Return the command that builds a set from paths, at most 20 of them named."""
    target = () if out is None else ("--out", out)
    return command_of("fim", "data", "build", *paths, *target)


def listed(names: Sequence[str]) -> str:
    """Return names as a list for people; of more than 20 the first 20 and how many there are."""
    shown = ", ".join(names[:_MOST_NAMED])
    return shown if len(names) <= _MOST_NAMED else f"{shown} and {len(names) - _MOST_NAMED} more"


def counted(number: int, name: str, plural: str = "") -> str:
    """Return a number with its noun.

    >>> counted(1, "submodule"), counted(2, "repository", "repositories")
    ('1 submodule', '2 repositories')
    """
    return f"{number} {name if number == 1 else plural or f'{name}s'}"
