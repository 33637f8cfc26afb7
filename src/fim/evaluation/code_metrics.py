"""Metrics that know code: identifiers, syntax of the whole file, over-runs, repeated suffixes."""

from __future__ import annotations

import keyword
import re
from typing import TYPE_CHECKING

from fim.evaluation.metrics import comparable, text_metrics
from fim.inference import drop_overlap, drop_repeated_suffix

if TYPE_CHECKING:
    from fim.corpus.syntax import Grammars

PASS_AT_1 = "pass_at_1"  # noqa: S105
PREFIX_MATCH_CHARS = "prefix_match_chars"
IDENTIFIER_F1 = "identifier_f1"
PARSES = "parses"
OVER_RUN_RATE = "over_run_rate"
SUFFIX_OVERLAP_RATE = "suffix_overlap_rate"
CLEAN_ENDING = "_clean"

_STRINGS = re.compile(r"\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`")
_NAMES = re.compile(r"[^\W\d]\w*")
_OTHER_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """abstract boolean case catch char const default do double enum extends false final float
        func fn for function goto impl implements int interface let long match mut new null package
        private protected pub public short static struct super switch this throw throws true type
        typeof undefined use var void volatile""",
    )
)
_KEYWORDS = frozenset(keyword.kwlist) | _OTHER_KEYWORDS


def prefix_match_chars(output: str, gold: str) -> float:
    """Return how many characters of the answer are right before the first wrong one."""
    count = 0
    for answered, wanted in zip(output, gold, strict=False):
        if answered != wanted:
            break
        count += 1
    return float(count)


def identifiers(text: str) -> frozenset[str]:
    """Return the names in a piece of code, outside strings, keywords of many languages left out."""
    return frozenset(_NAMES.findall(_STRINGS.sub(" ", text))) - _KEYWORDS


def identifier_f1(output: str, gold: str) -> float:
    """Return ``2 * common / (names of the answer + names of the gold)`` over sets of names.

    Two texts without any name have 1, one without names has 0 against any other.
    """
    answered, wanted = identifiers(output), identifiers(gold)
    if not answered and not wanted:
        return 1.0
    return 2 * len(answered & wanted) / (len(answered) + len(wanted))


def over_runs(output: str, gold: str) -> float:
    """Return 1 when the answer begins with the whole gold text and then goes on, else 0."""
    wanted = comparable(gold)
    rest = output[len(wanted) :]
    return float(bool(wanted) and output.startswith(wanted) and bool(rest.strip()))


def repeats_suffix(output: str, suffix: str) -> float:
    """Return 1 when the answer's end repeats the head of the suffix (a letter or digit in it)."""
    return float(drop_repeated_suffix(output, suffix) != output)


def parses(prefix: str, middle: str, suffix: str, language: str, grammars: Grammars) -> bool | None:
    """Tell whether a whole file parses without an error; None where no grammar is installed."""
    tree = grammars.parse(prefix + middle + suffix, language)
    return None if tree is None else not tree.has_error


def answer_metrics(
    output: str, *, gold: str, prefix: str, suffix: str, language: str, grammars: Grammars
) -> dict[str, float]:
    """Return the metrics of one answer: the raw answer's, and the cleaned one's under ``_clean``.

    The clean-up is gold-free: a re-emitted tail of the prefix and a re-emitted head of the suffix
    go. ``parses`` is only there where the file with its true text parses.

    Raises:
        MissingExtraError: rapidfuzz is not installed.
    """
    found = {
        **text_metrics(output, gold),
        PREFIX_MATCH_CHARS: prefix_match_chars(output, gold),
        IDENTIFIER_F1: identifier_f1(output, gold),
        OVER_RUN_RATE: over_runs(output, gold),
        SUFFIX_OVERLAP_RATE: repeats_suffix(output, suffix),
    }
    if parses(prefix, gold, suffix, language, grammars):
        found[PARSES] = float(bool(parses(prefix, output, suffix, language, grammars)))
    clean = drop_overlap(output, prefix, suffix)
    found |= {f"{name}{CLEAN_ENDING}": value for name, value in text_metrics(clean, gold).items()}
    return found
