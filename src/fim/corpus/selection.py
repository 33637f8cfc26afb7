"""Which files of the roots a build reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.ignores import is_pattern
from fim.errors import ConflictingSettingsError, InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fim.config import CorpusSettings


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of the roots are read.

    Args:
        include: Patterns in the syntax of ``.gitignore``; none takes every file.
        exclude: Patterns of files that are left out; they win.
        skip: A folder that is never listed, such as the output.
        revision: Commit to read in place of HEAD.
        from_commits: Read the files that the last commits changed; None reads the whole tree.
        since: Mark the lines that were added after this commit; None marks none.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    skip: Path | None = None
    revision: str | None = None
    from_commits: int | None = None
    since: str | None = None


def make_selection(
    settings: CorpusSettings,
    *,
    include: Sequence[str],
    exclude: Sequence[str],
    revision: str | None,
    skip: Path | None,
) -> Selection:
    """Return which files are read.

    Raises:
        ConflictingSettingsError: The settings ask for commit holes and for a split by time.
        InvalidSettingError: A pattern can match nothing.
    """
    for pattern in (*include, *exclude):
        if not is_pattern(pattern):
            raise InvalidSettingError(
                f"the pattern {pattern!r} is none of .gitignore's, so it would match no file",
                hint="give a pattern such as 'tests/' or '*.gen.py' to --include or --exclude",
            )
    if settings.split == "time" and (settings.split_commit is None or settings.from_commits):
        raise ConflictingSettingsError(
            f"corpus.split is time with corpus.split_commit {settings.split_commit} and "
            f"corpus.from_commits {settings.from_commits}; it needs the commit that divides the "
            "lines, and holes of whole files to train on",
            hint="--split time --split-commit REV, without --from-commits",
        )
    return Selection(
        include=tuple(include),
        exclude=tuple(exclude),
        skip=skip,
        revision=revision,
        from_commits=settings.from_commits,
        since=settings.split_commit if settings.split == "time" else None,
    )
