"""SAFIM from file to figures: scripts are run; an answer equal to the truth always passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fake_completion_server import fake_server
from fim.config import load_settings
from fim.errors import EvaluationError
from fim.evaluating import EvaluationRequest, rescore_folder, run_evaluation
from fim.evaluating.flow import _again_where_late
from fim.evaluation.folder import EvaluationFolder
from fim.evaluation.sandbox import Outcome, Program
from fim.evaluation.suites import Check

READ = "a, b = map(int, input().split())\n"
CASES = [{"input": "2 3", "output": ["5"]}, {"input": "1 1", "output": ["2"]}]


def row(number: int, truth: str = "a + b") -> dict[str, Any]:
    return {
        "lang": "python",
        "eval_prompt": f"# {number}\n{READ}print({{{{completion}}}})\n",
        "ground_truth": truth,
        "unit_tests": CASES,
        "task_id": f"control_completion_{number:06d}",
    }


def evaluate(folder: Path, rows: list[dict[str, Any]], answer: str) -> EvaluationFolder:
    data = folder / "control.jsonl"
    data.write_text("".join(json.dumps(each) + "\n" for each in rows))
    with fake_server(lambda *_: answer) as server:
        request = EvaluationRequest(
            suite="safim", out=folder / "out", data=data, endpoint=server.url, name="tiny"
        )
        run_evaluation(load_settings(), request)
    return EvaluationFolder(folder / "out")


@pytest.mark.parametrize(("answer", "wanted"), [("sum((a, b))", 1.0), ("a * b", 0.0)])
def test_another_right_answer_passes_and_a_wrong_one_does_not(
    tmp_path: Path, answer: str, wanted: float
) -> None:
    folder = evaluate(tmp_path, [row(0), row(1)], answer)
    assert json.loads(folder.result.read_text())["metrics"]["pass_at_1"] == wanted
    before = folder.result.read_bytes()
    rescore_folder(folder.path)
    assert folder.result.read_bytes() == before
    assert folder.read()[0].check == {"cases": [["2 3", ["5"]], ["1 1", ["2"]]]}


def test_a_few_true_scripts_may_fail_here_and_are_counted(tmp_path: Path) -> None:
    rows = [row(number) for number in range(24)]
    folder = evaluate(tmp_path, [*rows, row(24, "1 / 0")], "1 / 0")
    gold = folder.facts()["gold"]
    assert isinstance(gold, dict)
    assert gold["outcomes"] == {"passed": 24, "exit code 1 on input 1": 1}
    passed = [sample.passed for sample in folder.read()]
    assert sum(bool(found and found["raw"]) for found in passed) == 1


def test_a_sandbox_in_which_true_scripts_fail_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="1 of 2 true answers of safim do not score"):
        evaluate(tmp_path, [row(0), row(1, "1 / 0")], "a")


def test_true_answers_that_were_late_are_run_again_one_at_a_time() -> None:
    class Busy:
        """Lets every program time out unless it runs alone."""

        def run_many(self, programs: list[Program], *, workers: int) -> list[Outcome]:
            assert workers == 1
            return [Outcome(has_passed=program.source == "slow") for program in programs]

    programs = [Program(source, Check()) for source in ("right", "slow", "endless", "wrong")]
    before = [
        Outcome(has_passed=True),
        *[Outcome(False, "timeout")] * 2,
        Outcome(False, "AssertionError"),
    ]
    after = _again_where_late(Busy(), programs, before)  # type: ignore[arg-type]
    assert [outcome.has_passed for outcome in after] == [True, True, False, False]
    assert after[3].reason == "AssertionError"
