from __future__ import annotations

import pytest

from fim.corpus.syntax import Grammars
from fim.evaluation.code_metrics import (
    answer_metrics,
    identifier_f1,
    identifiers,
    over_runs,
    parses,
    prefix_match_chars,
    repeats_suffix,
)


@pytest.mark.parametrize(
    ("output", "gold", "wanted"), [("abc", "abd", 2), ("", "a", 0), ("ab", "ab", 2), ("x", "", 0)]
)
def test_prefix_match_chars(output: str, gold: str, wanted: float) -> None:
    assert prefix_match_chars(output, gold) == wanted


def test_identifiers_leave_strings_and_keywords_out() -> None:
    assert identifiers("return foo(bar, 'baz', \"qux\") if x1 else None") == {"foo", "bar", "x1"}


@pytest.mark.parametrize(
    ("output", "gold", "wanted"),
    [("a + b", "a + c", 0.5), ("1", "2", 1.0), ("a", "1", 0.0), ("f(x)", "f(x)", 1.0)],
)
def test_identifier_f1(output: str, gold: str, wanted: float) -> None:
    assert identifier_f1(output, gold) == wanted


@pytest.mark.parametrize(
    ("output", "gold", "wanted"),
    [("x = 1\ny = 2", "x = 1\n", 1), ("x = 1\n\n", "x = 1", 0), ("x", "", 0), ("y", "x", 0)],
)
def test_over_runs(output: str, gold: str, wanted: float) -> None:
    assert over_runs(output, gold) == wanted


def test_repeats_suffix() -> None:
    assert repeats_suffix("a\nreturn x", "return y\n") == 0
    assert repeats_suffix("a\nreturn x", "return x") == 1
    assert repeats_suffix("f(a))", ")") == 0


def test_parses_looks_at_the_whole_file() -> None:
    grammars = Grammars()
    assert parses("def f():\n    return ", "1", "\n", "Python", grammars)
    assert not parses("def f():\n    return ", "(", "\n", "Python", grammars)
    assert parses("x", "y", "z", "Brainfuck", grammars) is None


def test_answer_metrics_has_raw_and_clean_side_by_side() -> None:
    found = answer_metrics(
        "1\nprint(x)",
        gold="1\n",
        prefix="x = ",
        suffix="print(x)",
        language="Python",
        grammars=Grammars(),
    )
    assert (found["exact_match"], found["exact_match_clean"]) == (0, 1)
    assert found["suffix_overlap_rate"] == found["over_run_rate"] == 1
    assert found["parses"] == 0


def test_a_file_that_never_parsed_says_nothing_about_answers() -> None:
    found = answer_metrics(
        "1", gold="1", prefix="(((", suffix="", language="Python", grammars=Grammars()
    )
    assert "parses" not in found
