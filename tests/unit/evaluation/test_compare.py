"""Comparisons: paired, clustered, and never better than the interval says."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from fim.errors import EvaluationError
from fim.evaluation.compare import best_form, compare, joint_verdict
from fim.evaluation.samples import EvaluationResult, Sample, result_of
from fim.evaluation.statistics import Verdict, mcnemar_exact

FIELDS = {
    "language": "Python",
    "kind": "line",
    "prompt_sha256": "",
    "prefix_tail": "",
    "suffix_head": "",
    "gold": "g",
    "output": "o",
    "output_clean": "o",
    "stop_reason": "end",
    "num_tokens": 1,
    "milliseconds": 1.0,
}


def _sample(number: int, similarity: float, match: float, nll: float | None, tokens: int) -> Sample:
    return Sample(
        item=f"i{number}",
        cluster=f"f{number // 2}",
        **FIELDS,
        metrics={"edit_similarity": similarity, "exact_match": match, "stop_rate": 1.0},
        nll_sum=nll,
        nll_tokens=tokens,
    )


def _result(name: str, *, gain: float, loss: float, number: int = 80) -> EvaluationResult:
    chance = random.Random(7)
    samples = []
    for index in range(number):
        similarity, tokens = chance.random() * 0.5, chance.randint(1, 9)
        match = float(chance.random() < 0.2 + gain)
        samples.append(
            _sample(index, similarity + gain * chance.random(), match, tokens * (2 - loss), tokens)
        )
    return result_of(name, samples)


def test_a_clear_gain_is_better() -> None:
    base, tuned = _result("base", gain=0.0, loss=0.0), _result("tuned", gain=0.4, loss=0.5)
    comparison = compare(base, tuned, draws=2000)
    nll = comparison.metrics["nll_per_token"]
    assert (nll.a, nll.b, nll.difference) == pytest.approx((2.0, 1.5, -0.5))
    assert comparison.verdict == "better"
    assert (comparison.items, comparison.clusters) == (80, 40)
    back = compare(tuned, base, draws=2000)
    assert back.verdict == "worse"


def test_json_has_the_promised_keys() -> None:
    comparison = compare(_result("a", gain=0, loss=0), _result("b", gain=0, loss=0), draws=200)
    data = comparison.as_json()
    assert set(data) >= {"items", "metrics", "verdict"}
    for found in data["metrics"].values():
        assert set(found) == {"a", "b", "difference", "low", "high", "p"}
    assert data["verdict"] == "not enough to tell"


def test_right_or_wrong_metrics_have_mcnemars_p() -> None:
    a, b = _result("a", gain=0, loss=0), _result("b", gain=0.3, loss=0)
    found = compare(a, b, draws=200).metrics["exact_match"]
    matches = [[s.metrics["exact_match"] for s in result.samples] for result in (a, b)]
    assert found.p == mcnemar_exact(*matches).p


def test_order_of_items_does_not_matter() -> None:
    a, b = _result("a", gain=0, loss=0), _result("b", gain=0.3, loss=0.1)
    shuffled = result_of("b", b.samples[::-1])
    assert compare(a, shuffled, draws=200) == compare(a, b, draws=200)


def test_items_without_a_score_are_left_out_on_both_sides() -> None:
    a, b = _result("a", gain=0, loss=0), _result("b", gain=0, loss=0.5)
    holes = (replace(a.samples[0], nll_sum=None), *a.samples[1:])
    found = compare(result_of("a", holes), b, draws=200).metrics["nll_per_token"]
    assert (found.a, found.b) == pytest.approx((2.0, 1.5))
    none = result_of("a", [replace(sample, nll_sum=None) for sample in a.samples])
    assert "nll_per_token" not in compare(none, b, draws=200).metrics


@pytest.mark.parametrize("change", ["fewer", "other", "twice"])
def test_other_holes_are_refused(change: str) -> None:
    a = _result("a", gain=0, loss=0, number=4)
    samples = {
        "fewer": a.samples[:3],
        "other": (replace(a.samples[0], item="x"), *a.samples[1:]),
        "twice": (*a.samples, a.samples[0]),
    }[change]
    with pytest.raises(EvaluationError, match="only equal holes"):
        compare(a, result_of("b", samples))


def test_other_gold_is_refused() -> None:
    a = _result("a", gain=0, loss=0, number=4)
    b = result_of("b", [replace(sample, gold="other") for sample in a.samples])
    with pytest.raises(EvaluationError, match="different gold"):
        compare(a, b)


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["better", "better"], "better"),
        (["better", "not enough to tell"], "not enough to tell"),
        (["better", "worse"], "not enough to tell"),
        (["worse", "not enough to tell"], "worse"),
        ([], "not enough to tell"),
    ],
)
def test_joint_verdict(verdicts: Sequence[Verdict], expected: str) -> None:
    assert joint_verdict(verdicts) == expected


def test_best_form_depends_on_the_metric() -> None:
    chat = _result("chat", gain=0.3, loss=-1.0)
    plain = _result("plain", gain=0.0, loss=0.0)
    assert best_form([chat, plain], "nll_per_token") is plain
    assert best_form([chat, plain], "edit_similarity") is chat
    with pytest.raises(EvaluationError, match="no result has the metric 'bleu'"):
        best_form([chat], "bleu")
