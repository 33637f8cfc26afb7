"""Metrics of one completion, each with its exact definition."""

from __future__ import annotations

import re

from fim.errors import MissingExtraError
from fim.inference import FIRST_TEXT_LINE
from fim.inference.generate import END

EXACT_MATCH = "exact_match"
FIRST_LINE_MATCH = "first_line_match"
EDIT_SIMILARITY = "edit_similarity"
STOP_RATE = "stop_rate"
NLL_PER_TOKEN = "nll_per_token"  # noqa: S105
NLL_PER_TOKEN_WITH_END = "nll_per_token_with_end"  # noqa: S105

EDIT_SIMILARITY_FORMULA = "1 - indel(a, b) / (len(a) + len(b))"

_BLANKS_BEFORE_LINE_END = re.compile(r"[ \t]+(?=\r?\n)")
_BLANKS_AND_NEWLINES = " \t\r\n"


def comparable(text: str) -> str:
    """Return what an exact match compares.

    Spaces and tabs before a line end go, and all blanks and newlines at the end of the text. All
    else stays: leading blanks, indentation, newlines at the start and blank lines inside.
    """
    return _BLANKS_BEFORE_LINE_END.sub("", text.rstrip(_BLANKS_AND_NEWLINES))


def exact_match(output: str, gold: str) -> float:
    """Return 1 when output and gold are equal after ``comparable``, else 0."""
    return float(comparable(output) == comparable(gold))


def first_line_match(output: str, gold: str) -> float:
    """Return 1 when the first lines are equal after ``comparable``, else 0.

    The first line reaches to the first newline behind text, so newlines at the start count.
    """
    return float(comparable(first_line(output)) == comparable(first_line(gold)))


def first_line(text: str) -> str:
    """Return the text up to the first newline behind a non-blank character."""
    return text[: FIRST_TEXT_LINE.scan(text, final=True).safe_chars]


def edit_similarity(output: str, gold: str) -> float:
    """Return ``1 - indel(a, b) / (len(a) + len(b))``, from 0 to 1, on the raw texts.

    ``indel`` is the least number of characters to insert and delete to turn one text into the
    other; a replaced character costs two. Two empty texts have similarity 1.

    Source: rapidfuzz, ``distance.Indel.normalized_similarity``.

    Raises:
        MissingExtraError: rapidfuzz is not installed.
    """
    try:
        from rapidfuzz.distance import Indel
    except ImportError as error:
        raise MissingExtraError(
            "rapidfuzz is not installed, so edit similarity cannot be computed",
            hint='pip install "fim[eval]"',
        ) from error
    return float(Indel.normalized_similarity(output, gold))


def stopped(stop_reason: str) -> float:
    """Return 1 when the model itself ended its answer with a stop token, else 0.

    An answer that ran into the token limit, or that a stop rule had to end, did not stop.
    """
    return float(stop_reason == END)


def text_metrics(output: str, gold: str) -> dict[str, float]:
    """Return every metric that compares two texts.

    Raises:
        MissingExtraError: rapidfuzz is not installed.
    """
    return {
        EXACT_MATCH: exact_match(output, gold),
        FIRST_LINE_MATCH: first_line_match(output, gold),
        EDIT_SIMILARITY: edit_similarity(output, gold),
    }


HIGHER_IS_BETTER = {
    NLL_PER_TOKEN: False,
    NLL_PER_TOKEN_WITH_END: False,
    EDIT_SIMILARITY: True,
    EXACT_MATCH: True,
    FIRST_LINE_MATCH: True,
    STOP_RATE: True,
    "pass_at_1": True,
    "pass_at_1_clean": True,
    "suite_score": True,
    "exact_match_clean": True,
    "first_line_match_clean": True,
    "edit_similarity_clean": True,
    "prefix_match_chars": True,
    "identifier_f1": True,
    "parses": True,
    "over_run_rate": False,
    "suffix_overlap_rate": False,
}
BINARY = frozenset(
    {
        EXACT_MATCH,
        FIRST_LINE_MATCH,
        STOP_RATE,
        "pass_at_1",
        "pass_at_1_clean",
        "exact_match_clean",
        "first_line_match_clean",
        "parses",
        "over_run_rate",
        "suffix_overlap_rate",
    }
)
