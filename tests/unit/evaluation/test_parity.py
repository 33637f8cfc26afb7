from __future__ import annotations

from dataclasses import replace

import pytest

from fim.errors import EvaluationError
from fim.evaluating.page_answers import worst_cells
from fim.evaluation.gaps import PROBE_GAP, TRAIN_GAP, TRAIN_PROBE_GAP, measure_gaps
from fim.evaluation.parity import measure_parity, required_parity
from fim.evaluation.samples import Sample


def sample(item: str, output: str, **more: object) -> Sample:
    gold = "a + b"
    metrics = {
        "exact_match": float(output == gold),
        "edit_similarity": 0.5,
        "stop_rate": 1.0,
        "over_run_rate": float(output.startswith(gold) and output != gold),
    }
    made = Sample(
        item=item,
        language="Python",
        kind="rest of line",
        cluster=item,
        prompt_sha256=item,
        prefix_tail="x = ",
        suffix_head="\n",
        gold=gold,
        output=output,
        output_clean=output,
        stop_reason="end",
        num_tokens=3,
        milliseconds=1.0,
        metrics=metrics,
        prefix="x = ",
        suffix="\n",
        nll_sum=2.0,
        nll_tokens=2,
    )
    return replace(made, **more)  # type: ignore[arg-type]


def test_parity_counts_identical_answers_prompts_and_stops() -> None:
    a = [sample(f"h{n}", "a + b") for n in range(4)]
    b = [a[3], sample("h0", "a + c", stop_reason="length"), a[1], a[2]]
    found = measure_parity(a, b, threshold=0.8)
    assert found.identical == 0.75
    assert found.identical_prompts == 1.0
    assert found.identical_stops == 0.75
    assert found.exact_match_difference == -0.25
    assert found.different == ("h0",)
    with pytest.raises(EvaluationError, match=r"75.0% of 4 answers .* asked 80.0%") as caught:
        required_parity(found)
    assert "stop tokens" in caught.value.hint
    required_parity(measure_parity(a, b, threshold=0.75))
    required_parity(measure_parity(a, b))


def test_a_server_hides_its_prompts() -> None:
    found = measure_parity([sample("h", "a")], [sample("h", "a", prompt_sha256="")])
    assert found.identical_prompts is None


def test_gaps_hold_rewritten_holes_against_their_own_originals() -> None:
    samples = [
        sample("h0", "a + b"),
        sample("h1", "wrong"),
        sample("probe/h0", "wrong", part="probe", nll_sum=4.0),
        sample("train/t0", "a + b", part="train", nll_sum=1.0),
        sample("probe/train/t0", "wrong", part="train probe", nll_sum=5.0),
    ]
    gaps = measure_gaps(samples)
    assert gaps[TRAIN_GAP]["exact_match"] == 0.5
    assert gaps[TRAIN_GAP]["nll_per_token"] == -0.5
    assert gaps[PROBE_GAP]["exact_match"] == -1.0
    assert gaps[PROBE_GAP]["nll_per_token"] == 1.0
    assert gaps[TRAIN_PROBE_GAP]["nll_per_token"] == 2.0
    assert measure_gaps(samples[:2]) == {}


def test_the_worst_are_the_longest_over_runs_and_missed_stops() -> None:
    a = [sample(f"h{n}", "a + b") for n in range(9)]
    endless = {"exact_match": 0.0, "edit_similarity": 0.1, "stop_rate": 0.0, "over_run_rate": 0.0}
    b = {
        each.item: sample(each.item, "a + b" + "; more" * number)
        for number, each in enumerate(a[:7])
    }
    b["h7"] = sample("h7", "x", metrics=endless, stop_reason="length")
    b["h8"] = sample("h8", "x" * 9, metrics=endless, stop_reason="length")
    cells = worst_cells(a, b)
    assert [(cell.outcome, cell.item) for cell in cells] == [
        *(("over-run", f"h{n}") for n in (6, 5, 4, 3, 2)),
        ("did not stop", "h8"),
        ("did not stop", "h7"),
    ]
