"""Why files and holes are dropped, and the counter that accounts for every one of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fim.errors import EmptyDatasetError
from fim.types import DropReport

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fim.corpus.notices import Notice


class DropReason(StrEnum):
    """Why a file did not enter the data set."""

    SYMLINK = "symlink"
    NOT_A_FILE = "not_a_file"
    SUBMODULE = "submodule"
    BROKEN_REPOSITORY = "broken_repository"
    NO_COMMITS = "no_commits"
    NOT_IN_CLONE = "not_in_clone"
    UNREADABLE = "unreadable"
    BAD_FILE_NAME = "bad_file_name"
    EXCLUDED = "excluded"
    VENDORED = "vendored"
    LOCK_FILE = "lock_file"
    MINIFIED = "minified"
    GENERATED = "generated"
    SECRET_FILE = "secret_file"  # noqa: S105
    UNKNOWN_LANGUAGE = "unknown_language"
    NOT_SUPPORTED = "not_supported"
    OVER_MAX_FILES = "over_max_files"
    TOO_LARGE = "too_large"
    TOO_SHORT = "too_short"
    BINARY = "binary"
    NOT_UTF8 = "not_utf8"
    WRONG_ENCODING = "wrong_encoding"
    LFS_POINTER = "lfs_pointer"
    LONG_LINE = "long_line"
    LONG_LINES_ON_AVERAGE = "long_lines_on_average"
    FEW_ALPHANUMERICS = "few_alphanumerics"
    MOSTLY_DIGITS = "mostly_digits"
    CONTROL_TOKENS = "control_tokens"
    SECRET = "secret"  # noqa: S105
    DENIED_LICENCE = "denied_licence"
    EXACT_DUPLICATE = "exact_duplicate"
    NEAR_DUPLICATE = "near_duplicate"
    LIKE_HELD_OUT = "like_held_out"
    NO_HOLES = "no_holes"
    CONTEXT_ONLY = "context_only"


class HoleDropReason(StrEnum):
    """Why a sampled hole did not enter the data set."""

    DUPLICATE_HOLE = "duplicate_hole"
    MIDDLE_IN_TRAINING_TEXT = "middle_in_training_text"
    NGRAM_IN_TRAINING_TEXT = "ngram_in_training_text"
    SAMPLED_OUT = "sampled_out"


@dataclass(slots=True)
class Tally:
    """A running count of what was seen and why some of it was dropped."""

    seen: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def see(self, number: int = 1) -> None:
        """Count things that came in."""
        self.seen += number

    def drop(self, reason: str, number: int = 1) -> None:
        """Count things dropped for one reason."""
        if number:
            self.reasons[str(reason)] += number

    @property
    def dropped(self) -> Mapping[str, int]:
        """Counts by reason, most frequent first, names in order where equal."""
        return dict(sorted(self.reasons.items(), key=lambda item: (-item[1], item[0])))

    def report(self) -> DropReport:
        """Return the counts as a report whose parts add up."""
        num_dropped = self.reasons.total()
        return DropReport(seen=self.seen, used=self.seen - num_dropped, dropped=self.dropped)


_SETTINGS_OF_GATES = {
    DropReason.TOO_LARGE: "corpus.max_file_bytes",
    DropReason.LONG_LINE: "corpus.max_line_chars",
    DropReason.LONG_LINES_ON_AVERAGE: "corpus.max_mean_line_chars",
    DropReason.FEW_ALPHANUMERICS: "corpus.min_alphanumeric_share",
    DropReason.DENIED_LICENCE: "corpus.denied_licences",
}


_HINTS = {
    DropReason.NOT_UTF8: "name the encoding in a first line (# -*- coding: latin-1 -*-), or make "
    "the file UTF-8: iconv -f latin1 -t utf-8 FILE",
    DropReason.WRONG_ENCODING: "the file is not in the encoding that it names; mend that line, or "
    "make the file UTF-8: iconv -f latin1 -t utf-8 FILE",
    DropReason.NOT_SUPPORTED: "the manifest counts such files by ending (endings_left_out)",
    DropReason.EXCLUDED: "loosen --include, --exclude and .fimignore",
}


def nothing_made(
    roots: Sequence[Path], tally: Tally, notices: Sequence[Notice] = ()
) -> EmptyDatasetError:
    """Return the error of a build without a single hole.

    Its hint is that of the first notice that has one, else it follows the commonest reason.
    """
    names = ", ".join(str(root) for root in roots)
    counts = ", ".join(f"{number} {reason}" for reason, number in tally.dropped.items())
    seen = f"{tally.seen} files seen, dropped {counts or 'none'}" if tally.seen else "no file there"
    told = "".join(f"; {notice.message}" for notice in notices)
    hints = (notice.hint for notice in notices if notice.hint)
    return EmptyDatasetError(
        f"no hole could be made from {names}: {seen}; a data set needs at least one source file"
        f"{told}",
        hint=next(hints, "") or _hint_of_nothing(next(iter(tally.dropped), "")),
        context={"files": tally.report().as_json()},
    )


def hint_for(reason: str) -> str:
    """Return what to do about files that a gate drops; empty where nothing in particular helps."""
    for gate, name in _SETTINGS_OF_GATES.items():
        if gate == reason:
            return f"fim config explain {name} tells how to loosen that gate"
    return next((hint for gate, hint in _HINTS.items() if gate == reason), "")


def _hint_of_nothing(reason: str) -> str:
    if not reason:
        return "give a folder with source code; git leaves ignored and untracked files out"
    general = "give a folder with source code; --explain FILE says why a file is left out"
    return hint_for(reason) or general
