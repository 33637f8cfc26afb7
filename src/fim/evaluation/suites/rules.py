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
_DOCSTRINGS = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''", re.DOTALL)


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
    """Return 1 when both are calls in Python with equal arguments, else when the texts are equal.

    All blanks are removed first in both cases, and the name of the function is not compared, as in
    the published scorer.

    Source: https://github.com/gonglinyuan/safim, ``evaluate.syntax_match``.
    """
    answered, wanted = _until_closed(output), _until_closed(gold)
    first, second = "".join(answered.split()), "".join(wanted.split())
    if language.lower() == "python":
        calls = [_arguments(text) for text in (first, second)]
        if None not in calls:
            return float(calls[0] == calls[1])
    return float(first == second)


def execrepobench_similarity(output: str, gold: str, _language: str) -> float:
    """Return the edit similarity of both texts without docstrings, blank lines and outer blanks.

    Source: https://github.com/QwenLM/Qwen2.5-Coder, ExecRepoBench, ``evaluate_es_score``.
    """
    return edit_similarity(*(_without_docstrings(text) for text in (output, gold)))


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
        Rule(
            "safim_api_match",
            "equal arguments of the call in Python (any function name, as published), else equal "
            "text, blanks removed",
            safim_api_match,
        ),
        Rule(
            "execrepobench_edit_similarity",
            "edit similarity, 1 - indel(a, b) / (len(a) + len(b)), without docstrings, blank "
            "lines and outer blanks; its tests are not run",
            execrepobench_similarity,
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


def _arguments(text: str) -> tuple[list[str], dict[str | None, str]] | None:
    try:
        call = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError):
        return None
    if not isinstance(call, ast.Call):
        return None
    named = {keyword.arg: ast.dump(keyword.value) for keyword in call.keywords}
    return [ast.dump(argument) for argument in call.args], named


def _without_docstrings(text: str) -> str:
    lines = _DOCSTRINGS.sub("", text).split("\n")
    return "\n".join(line for line in lines if line.strip()).strip()


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
