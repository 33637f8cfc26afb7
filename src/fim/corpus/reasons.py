"""Why files and holes are dropped, and the counter that accounts for every one of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from fim.types import DropReport

if TYPE_CHECKING:
    from collections.abc import Mapping


class DropReason(StrEnum):
    """Why a file did not enter the data set."""

    SYMLINK = "symlink"
    NOT_A_FILE = "not_a_file"
    SUBMODULE = "submodule"
    UNREADABLE = "unreadable"
    BAD_FILE_NAME = "bad_file_name"
    EXCLUDED = "excluded"
    VENDORED = "vendored"
    LOCK_FILE = "lock_file"
    MINIFIED = "minified"
    GENERATED = "generated"
    SECRET_FILE = "secret_file"  # noqa: S105
    UNKNOWN_LANGUAGE = "unknown_language"
    OVER_MAX_FILES = "over_max_files"
    TOO_LARGE = "too_large"
    TOO_SHORT = "too_short"
    BINARY = "binary"
    NOT_UTF8 = "not_utf8"
    LFS_POINTER = "lfs_pointer"
    LONG_LINE = "long_line"
    LONG_LINES_ON_AVERAGE = "long_lines_on_average"
    FEW_ALPHANUMERICS = "few_alphanumerics"
    MOSTLY_DIGITS = "mostly_digits"
    CONTROL_TOKENS = "control_tokens"
    SECRET = "secret"  # noqa: S105
    DENIED_LICENCE = "denied_licence"
    EXACT_DUPLICATE = "exact_duplicate"
    LIKE_HELD_OUT = "like_held_out"
    PARSE_FAILURE = "parse_failure"
    NO_HOLES = "no_holes"


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
