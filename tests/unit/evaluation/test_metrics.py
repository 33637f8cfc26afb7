"""Metrics against hand-worked values and brute force."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.errors import MissingExtraError
from fim.evaluation.metrics import (
    comparable,
    edit_similarity,
    exact_match,
    first_line_match,
    stopped,
    text_metrics,
)


def _indel(a: str, b: str) -> int:
    """Insertions and deletions by the longest common subsequence."""
    lengths = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, first in enumerate(a):
        for j, second in enumerate(b):
            best = max(lengths[i][j + 1], lengths[i + 1][j])
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if first == second else best
    return len(a) + len(b) - 2 * lengths[-1][-1]


@given(st.text(alphabet="ab \n", max_size=12), st.text(alphabet="ab \n", max_size=12))
def test_edit_similarity_is_the_indel_ratio(a: str, b: str) -> None:
    total = len(a) + len(b)
    expected = 1 - _indel(a, b) / total if total else 1.0
    assert edit_similarity(a, b) == pytest.approx(expected, abs=1e-12)


def test_edit_similarity_at_its_ends() -> None:
    assert edit_similarity("", "") == 1.0
    assert edit_similarity("", "a") == 0.0
    assert edit_similarity("abc", "abc") == 1.0
    assert edit_similarity("abcd", "abxd") == 0.75


@pytest.mark.parametrize(
    ("output", "gold", "expected"),
    [
        ("x", "x", 1.0),
        ("x  ", "x", 1.0),
        ("x\n\n", "x", 1.0),
        ("x \t\ny", "x\ny\n", 1.0),
        ("x\r\n", "x", 1.0),
        (" x", "x", 0.0),
        ("\nx", "x", 0.0),
        ("x\n\ny", "x\ny", 0.0),
        ("x", "X", 0.0),
        ("", " \n", 1.0),
    ],
)
def test_exact_match_forgives_trailing_blanks_only(output: str, gold: str, expected: float) -> None:
    assert exact_match(output, gold) == expected


@given(st.lists(st.sampled_from(["a", " ", "\t", "\n", "\r\n"]), max_size=12).map("".join))
def test_comparable_is_idempotent(text: str) -> None:
    assert comparable(comparable(text)) == comparable(text)


@pytest.mark.parametrize(
    ("output", "gold", "expected"),
    [
        ("a\nb", "a\nc", 1.0),
        ("a \nb", "a", 1.0),
        ("\na\nb", "\na\nc", 1.0),
        ("a", "\na", 0.0),
        ("", "\n    a", 0.0),
        ("ab\nc", "a\nc", 0.0),
    ],
)
def test_first_line_match(output: str, gold: str, expected: float) -> None:
    assert first_line_match(output, gold) == expected


def test_only_the_model_itself_stops() -> None:
    assert [stopped(reason) for reason in ("end", "length", "first_line")] == [1.0, 0.0, 0.0]


def test_gold_scores_one_everywhere() -> None:
    assert set(text_metrics("  a\n", "  a\n").values()) == {1.0}


def test_without_rapidfuzz_the_pip_line_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidfuzz.distance", None)
    with pytest.raises(MissingExtraError, match="rapidfuzz") as caught:
        edit_similarity("a", "b")
    assert caught.value.hint == 'pip install "fim[eval]"'
