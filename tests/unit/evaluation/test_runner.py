"""Scoring contestants that need no model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from fim.errors import EmptyDatasetError, EvaluationError, OutputError
from fim.evaluation.floors import EMPTY, PREVIOUS_LINE, Floor, best_constant, previous_line
from fim.evaluation.runner import Contestant, evaluate, hash_of_ids
from fim.evaluation.samples import read_samples, result_of, write_samples
from fim.inference import REMOVE_FENCE, GoldScore, StopRule
from fim.types import Completion, FimExample, Progress

EXAMPLES = (
    FimExample(
        "a = 1\n", "b = 2\n", "c\n", language="Python", id="one", document_id="f1", span_kind="line"
    ),
    FimExample("x = ", "y", "\n", language="Python", path="f2.py"),
    FimExample("", "", "z", language="Java"),
)


class Answers:
    """Answers and scores that were written down."""

    def __init__(self, texts: Sequence[str], scores: Sequence[GoldScore | None] = ()) -> None:
        self.texts = list(texts)
        self.scores = list(scores)
        self.asked: dict[str, object] = {}

    def complete_batch(
        self,
        examples: Sequence[FimExample],
        *,
        stop: StopRule | None = None,
        max_new_tokens: int | None = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        self.asked = {"stop": stop, "max_new_tokens": max_new_tokens}
        reasons = ["end", "length", "end"]
        return [
            Completion(text, (7, 8), reason, 5.0, (1, 2))
            for text, reason, _ in zip(self.texts, reasons, examples, strict=True)
        ]

    def score_gold(
        self, examples: Sequence[FimExample], *, progress: Progress | None = None
    ) -> list[GoldScore | None]:
        return self.scores


class Recorder:
    """Writes down what is reported."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def start(self, stage: str, total: int | None) -> None:
        self.events.append(("start", stage, total))

    def advance(self, done: int, **facts: float | str) -> None:
        self.events.append(("advance", done))

    def finish(self, summary: str = "") -> None:
        self.events.append(("finish",))


def test_metrics_are_means_and_ratios_of_sums() -> None:
    scores = [GoldScore(6.0, 3, 0.5), GoldScore(1.0, 1, 0.5), GoldScore(0.0, 0, 2.0)]
    answers = Answers(["b = 2\n", "z", ""], scores)
    result = evaluate(Contestant("m", answers, scorer=answers), EXAMPLES)
    assert result.metrics == {
        "nll_per_token": pytest.approx(7 / 4),
        "nll_per_token_with_end": pytest.approx(10 / 7),
        "edit_similarity": pytest.approx(2 / 3),
        "exact_match": pytest.approx(2 / 3),
        "first_line_match": pytest.approx(2 / 3),
        "stop_rate": pytest.approx(2 / 3),
    }
    assert result.as_json()["items"] == 3


def test_a_sample_holds_what_a_reader_needs() -> None:
    result = evaluate(Contestant("m", Answers(["b = 2\n", "y", ""])), EXAMPLES)
    first, second, third = result.samples
    expected = hashlib.sha256(b"1,2").hexdigest()
    assert (first.item, first.language, first.kind) == ("one", "Python", "line")
    assert first.prompt_sha256 == hash_of_ids((1, 2)) == expected
    assert [s.item for s in result.samples] == ["one", "000001", "000002"]
    assert [s.cluster for s in result.samples] == ["f1", "f2.py", "000002"]
    assert (second.prefix_tail, second.suffix_head, third.gold) == ("x = ", "\n", "")
    assert (first.num_tokens, first.milliseconds, first.nll_sum) == (2, 5.0, None)
    assert "nll_per_token" not in result.metrics


def test_a_clean_up_changes_the_score_and_keeps_the_raw_output() -> None:
    answers = Answers(["```\nb = 2\n\n```", "y", ""])
    contestant = Contestant("m", answers, clean=REMOVE_FENCE, max_new_tokens=9)
    first = evaluate(contestant, EXAMPLES).samples[0]
    assert first.output == "```\nb = 2\n\n```"
    assert first.output_clean == "b = 2\n"
    assert (first.metrics["exact_match"], first.metrics_raw["exact_match"]) == (1.0, 0.0)
    assert answers.asked["max_new_tokens"] == 9


def test_gold_is_perfect_and_empty_is_a_floor() -> None:
    gold = Floor("gold", lambda example: example.middle)
    assert set(evaluate(Contestant("gold", gold), EXAMPLES).metrics.values()) == {1.0}
    empty = evaluate(Contestant("empty", EMPTY), EXAMPLES)
    assert empty.metrics["exact_match"] == pytest.approx(1 / 3)
    assert empty.samples[0].prompt_sha256 == ""


def test_progress_gets_a_stage_for_each_pass() -> None:
    recorder = Recorder()
    floor = Contestant("floor", EMPTY, scorer=Answers([], [None, None, None]))
    evaluate(floor, EXAMPLES, recorder)
    assert recorder.events == [
        ("start", "floor: completions", 3),
        ("advance", 3),
        ("finish",),
        ("start", "floor: likelihood", 3),
        ("finish",),
    ]


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("a\n  b\n", "  b"),
        ("a\n  b\n    ", "b"),
        ("a\n\n  \nc = ", "a"),
        ("  b\r\n\n", "  b"),
        ("abc", ""),
        ("", ""),
    ],
)
def test_previous_line(prefix: str, expected: str) -> None:
    assert previous_line(FimExample(prefix, "?", "")) == expected
    assert PREVIOUS_LINE.complete_batch([FimExample(prefix, "?", "")])[0].text == expected


def test_best_constant_is_the_most_frequent_middle() -> None:
    middles = ["b", "a", "a", "b", "c", "", "", ""]
    floor = best_constant([FimExample("", middle, "") for middle in middles])
    assert floor.answer(EXAMPLES[0]) == "a"
    assert best_constant([FimExample("", "", "")]).answer(EXAMPLES[0]) == ""
    with pytest.raises(EmptyDatasetError, match="no training examples"):
        best_constant([])


def test_no_samples_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="nobody has no samples"):
        result_of("nobody", [])


def test_samples_are_read_back_byte_for_byte(tmp_path: Path) -> None:
    nasty = FimExample("\ud800 é\u2028", "\r\n\x85\x0c", "\U0001f600", id="n")
    scores = [GoldScore(0.1, 3, None)] * 3
    answers = Answers(["\u2028\r", "y", "z"], scores)
    result = evaluate(Contestant("m", answers, scorer=answers), [nasty, *EXAMPLES[:2]])
    path = tmp_path / "deep" / "samples.jsonl"
    write_samples(path, result.samples)
    before = path.read_bytes()
    again = read_samples(path)
    assert again == result.samples
    assert result_of("m", again) == result
    write_samples(path, again)
    assert path.read_bytes() == before
    keys = set(json.loads(before.splitlines()[0]))
    assert keys >= {
        "item",
        "language",
        "kind",
        "prompt_sha256",
        "gold",
        "output",
        "output_clean",
        "metrics",
    }


def test_samples_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot write"):
        write_samples(tmp_path / "file" / "samples.jsonl", ())
    with pytest.raises(EvaluationError, match="cannot be read as samples"):
        read_samples(tmp_path / "file")
    with pytest.raises(EvaluationError, match="cannot be read as samples"):
        read_samples(tmp_path / "missing")
