"""The scoring rules that published suites bring along, each under its own name.

A rule takes answer, gold and language and gives 0 to 1; gold against itself must give 1.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.errors import EvaluationError
from fim.evaluation.metrics import edit_similarity

if TYPE_CHECKING:
    from collections.abc import Callable

_LINE_COMMENTS = re.compile(r"(#|//).*")


@dataclass(frozen=True, slots=True)
class Rule:
    """A published way to score an answer.

    Args:
        name: What reports call it.
        meaning: Its definition in one sentence.
        score: Returns 0 to 1 for answer, gold and language.
    """

    name: str
    meaning: str
    score: Callable[[str, str, str], float]


def stripped_match(output: str, gold: str, _language: str) -> float:
    """Return 1 when both are equal after ``str.strip``."""
    return float(output.strip() == gold.strip())


def cceval_lines(text: str, language: str) -> list[str]:
    """Return the stripped, filled lines of a completed statement, comments removed.

    Java, TypeScript and C# end at the first ``;``, ``{`` or ``}``; Python at the shortest run of
    lines that parses.
    """
    statement = _python_statement(text) if language.lower() == "python" else _bracket_cut(text)
    lines = (_LINE_COMMENTS.sub("", line).strip() for line in statement.splitlines())
    return [line for line in lines if line]


def cceval_match(output: str, gold: str, language: str) -> float:
    """Return 1 when both have equal lines by ``cceval_lines``."""
    return float(cceval_lines(output, language) == cceval_lines(gold, language))


def repobench_match(output: str, gold: str, language: str) -> float:
    """Return 1 when the first line that is no comment has the words of the gold."""
    return float(_first_code_line(output, language).split() == gold.split())


def safim_api_match(output: str, gold: str, language: str) -> float:
    """Return 1 when both are the same call: equal syntax trees in Python, else equal text.

    All blanks are removed first in both cases, as the published scorer does.
    """
    answered, wanted = _until_closed(output), _until_closed(gold)
    first, second = "".join(answered.split()), "".join(wanted.split())
    if language.lower() == "python":
        try:
            return float(ast.dump(ast.parse(first)) == ast.dump(ast.parse(second)))
        except (SyntaxError, ValueError, RecursionError):
            return float(first == second)
    return float(first == second)


RULES = {
    rule.name: rule
    for rule in (
        Rule("santacoder_exact_match", "equal after str.strip() on both sides", stripped_match),
        Rule(
            "cceval_exact_match",
            "equal stripped, filled lines of the completed statement without comments",
            cceval_match,
        ),
        Rule(
            "repobench_exact_match",
            "first line that is no comment, split at blanks, equals the gold's",
            repobench_match,
        ),
        Rule("safim_api_match", "the same call by syntax tree, blanks removed", safim_api_match),
        Rule(
            "execrepobench_edit_similarity",
            "edit similarity, 1 - indel(a, b) / (len(a) + len(b)); its tests are not run",
            lambda output, gold, _language: edit_similarity(output, gold),
        ),
    )
}


def rule_named(name: str) -> Rule:
    """Return a rule.

    Raises:
        EvaluationError: There is none of that name.
    """
    if name not in RULES:
        raise EvaluationError(
            f"there is no scoring rule {name!r}, so the samples cannot be scored",
            hint=f"use one of: {', '.join(RULES)}",
        )
    return RULES[name]


def _python_statement(text: str) -> str:
    lines = text.splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        piece = "".join(lines[:count])
        if piece.strip() and _is_closed(piece):
            return piece
    return text


def _is_closed(piece: str) -> bool:
    depth = Counter(piece)
    return all(depth[left] <= depth[right] for left, right in ("()", "[]", "{}"))


def _bracket_cut(text: str) -> str:
    match = re.search(r"[;{}]", text)
    return text if match is None else text[: match.end()]


def _first_code_line(text: str, language: str) -> str:
    marks = ("#",) if language.lower() == "python" else ("//", "/*", "*")
    for line in text.splitlines():
        if line.strip() and not line.strip().startswith(marks):
            return line
    return ""


def _until_closed(text: str) -> str:
    depth, has_opened = 0, False
    for place, char in enumerate(text):
        depth += (char in "([{") - (char in ")]}")
        has_opened = has_opened or char in "([{"
        if depth < 0:
            return text[:place]
        if has_opened and depth == 0:
            return text[: place + 1]
    return text
