"""HumanEval's true answers in the sandbox, and what small edits cost them.

The figures of the edits were measured with the published harness over all 1,033 holes.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fim.evaluation.sandbox import Program, Sandbox
from fim.evaluation.suites import SuiteItem
from fim.evaluation.suites.humaneval import (
    left_to_right_items,
    multi_line_items,
    read_problems,
    single_line_items,
)

Edit = Callable[[SuiteItem], str]


def share(items: tuple[SuiteItem, ...], edit: Edit) -> float:
    programs = []
    for item in items:
        assert item.check is not None
        source = item.example.prefix + edit(item) + item.example.suffix
        programs.append(Program(source, item.check))
    outcomes = Sandbox().run_many(programs)
    return sum(outcome.has_passed for outcome in outcomes) / len(outcomes)


@pytest.fixture(scope="module")
def single_line() -> tuple[SuiteItem, ...]:
    return single_line_items(read_problems())


def test_every_whole_solution_passes() -> None:
    assert share(left_to_right_items(read_problems()), lambda item: item.example.middle) == 1


@pytest.mark.slow
def test_every_true_line_passes(single_line: tuple[SuiteItem, ...]) -> None:
    assert share(single_line, lambda item: item.example.middle) == 1


@pytest.mark.slow
def test_every_pair_of_lines_passes() -> None:
    assert share(multi_line_items(read_problems())[::8], lambda item: item.example.middle) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("edit", "wanted"),
    [
        (lambda item: item.example.middle.removesuffix("\n"), 0.445),
        (lambda item: item.example.middle.strip(), 0.018),
        (lambda item: item.example.middle + item.example.suffix.partition("\n")[0] + "\n", 0.607),
        (lambda item: "", 0.026),
    ],
    ids=["without its newline", "stripped", "with a suffix line", "empty"],
)
def test_edits_cost_what_they_cost_in_the_published_harness(
    single_line: tuple[SuiteItem, ...], edit: Edit, wanted: float
) -> None:
    assert share(single_line, edit) == pytest.approx(wanted, abs=0.006)
