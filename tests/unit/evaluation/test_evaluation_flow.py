"""Whole evaluations against a server on this machine: run, resume, rescore, compare, page."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fake_completion_server import fake_server
from fim.config import load_settings
from fim.errors import (
    ConflictingSettingsError,
    EvaluationError,
    InterruptedRunError,
    OutputError,
    SourceNotFoundError,
)
from fim.evaluating import EvaluationRequest, rescore_folder, run_evaluation
from fim.evaluating.page import make_page, write_page
from fim.evaluation.comparing import MIN_ITEMS, compare_folders, required
from fim.evaluation.folder import EvaluationFolder
from fim.evaluation.suites.humaneval import read_problems, single_line_items

Answer = Callable[[str, str], str]


def rows(number: int) -> list[dict[str, Any]]:
    return [
        {
            "id": f"h{n}",
            "document_id": f"d{n // 3}",
            "path": f"src/d{n // 3}.py",
            "language": "Python",
            "prefix": f"def f_{n}(a, b):\n    value_{n} = ",
            "middle": f"a * {n} + call_{n}(b)",
            "suffix": f"\n    return value_{n}\n",
            "context": [],
            "span_kind": "line_end" if n % 2 else "syntax:call",
            "split": "held_out" if n % 4 else "train",
        }
        for n in range(number)
    ]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "data.jsonl", 80)


def write_rows(path: Path, number: int) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(number)))
    return path


def gold_of(prefix: str) -> str:
    match = re.search(r"value_(\d+) = $", prefix)
    if match is None:
        return "rewritten"
    return f"a * {match[1]} + call_{match[1]}(b)"


def good(prefix: str, _suffix: str) -> str:
    return gold_of(prefix)


def poor(prefix: str, _suffix: str) -> str:
    return gold_of(prefix) if re.search(r"value_\d*7 = $", prefix) else "a + b\n    more()"


def evaluate(out: Path, data: Path | None, answer: Answer, **more: Any) -> EvaluationFolder:
    with fake_server(answer) as server:
        request = EvaluationRequest(
            suite=more.pop("suite", "own"),
            out=out,
            data=data,
            endpoint=server.url,
            endpoint_model="tiny",
            name=more.pop("name", out.name),
            **more,
        )
        run_evaluation(resolved(), replace(request, endpoint=server.url))
    return EvaluationFolder(out)


def resolved() -> Any:
    return load_settings(overrides={"eval.bootstrap_draws": 500, "eval.batch_size": 4})


def test_a_run_leaves_samples_with_the_keys_of_the_contract(tmp_path: Path, data: Path) -> None:
    folder = evaluate(tmp_path / "good", data, good, train_holes=5, is_probed=True)
    lines = [json.loads(line) for line in folder.samples.read_text().splitlines()]
    wanted = {"item", "language", "kind", "prompt_sha256", "gold", "output", "output_clean"}
    assert wanted | {"metrics"} <= set(lines[0])
    result = json.loads(folder.result.read_text())
    assert result["items"] == 60
    assert result["metrics"]["exact_match"] == 1.0
    assert result["rates"]["exact_match"]["low"] < 1.0
    assert result["parts"]["train"]["items"] == 5
    assert "probe" in result["parts"]
    assert folder.facts()["leaks"]["is_leaking"] is False  # type: ignore[index]


def test_rescoring_gives_the_same_bytes(tmp_path: Path, data: Path) -> None:
    folder = evaluate(tmp_path / "poor", data, poor)
    before = [path.read_bytes() for path in (folder.samples, folder.result)]
    found = compare_folders(folder, folder, draws=50, seed=1)
    page = write_page(found, folder, folder, tmp_path / "page.html", seed=1).read_bytes()
    rescore_folder(folder.path)
    assert [path.read_bytes() for path in (folder.samples, folder.result)] == before
    again = compare_folders(folder, folder, draws=50, seed=1)
    assert write_page(again, folder, folder, tmp_path / "page.html", seed=1).read_bytes() == page


def test_an_interrupted_run_goes_on_at_the_next_hole(tmp_path: Path, data: Path) -> None:
    asked: list[str] = []

    def answer(prefix: str, suffix: str) -> str:
        asked.append(prefix)
        return good(prefix, suffix)

    with fake_server(answer) as server:
        request = EvaluationRequest(
            suite="own", out=tmp_path / "x", data=data, endpoint=server.url, name="x"
        )
        from fim.evaluation import folder as folder_module

        whole = folder_module.EvaluationFolder.append
        calls = 0

        def stop_later(self: EvaluationFolder, samples: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == 3:
                raise KeyboardInterrupt
            whole(self, samples)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(folder_module.EvaluationFolder, "append", stop_later)
            with pytest.raises(InterruptedRunError, match="answers so far are kept") as caught:
                run_evaluation(resolved(), request)
        assert "goes on at the next hole" in caught.value.hint
        kept = len(EvaluationFolder(tmp_path / "x").read())
        assert 0 < kept < 60
        with pytest.raises(EvaluationError, match=f"{kept} of 60 holes: it was interrupted"):
            compare_folders(
                EvaluationFolder(tmp_path / "x"),
                EvaluationFolder(tmp_path / "x"),
                draws=10,
                seed=1,
            )
        asked.clear()
        run_evaluation(resolved(), request)
        assert len(asked) == 60 - kept
        asked.clear()
        run_evaluation(resolved(), request)
        assert asked == []


def test_a_folder_of_another_evaluation_is_refused(tmp_path: Path, data: Path) -> None:
    folder = evaluate(tmp_path / "x", data, good)
    with pytest.raises(EvaluationError, match=r"holds another evaluation: .*items was 60"):
        evaluate(folder.path, data, good, limit=5)
    (folder.path / "evaluation.json").unlink()
    with pytest.raises(EvaluationError, match="holds samples without"):
        evaluate(folder.path, data, good)


def test_better_is_told_on_enough_holes_alone(tmp_path: Path, data: Path) -> None:
    a, b = evaluate(tmp_path / "a", data, poor), evaluate(tmp_path / "b", data, good)
    few = compare_folders(a, b, draws=500, seed=1)
    assert few.whole.items < MIN_ITEMS
    assert few.verdict == "not enough to tell"
    assert "under the 300 that a claim needs" in few.reason
    assert compare_folders(b, a, draws=500, seed=1).verdict == "worse"
    large = write_rows(tmp_path / "large.jsonl", 420)
    a, b = evaluate(tmp_path / "la", large, poor), evaluate(tmp_path / "lb", large, good)
    many = compare_folders(a, b, draws=500, seed=1)
    assert many.verdict == "better"
    assert many.reason == "the intervals exclude zero"
    assert many.mcnemar["exact_match"]["only_a"] == 0
    assert {row["kind"] for row in many.slices} == {"rest of line", "call"}
    assert all(row["verdict"] == "better" for row in many.slices)
    assert many.floors["empty answer"]["exact_match"] == 0
    assert compare_folders(a, a, draws=500, seed=1).reason == "an interval holds zero"


def test_thresholds(tmp_path: Path, data: Path) -> None:
    a, b = evaluate(tmp_path / "a", data, poor), evaluate(tmp_path / "b", data, good)
    found = compare_folders(a, b, draws=100, seed=1)
    required("exact_match", 0.9, found)
    required("over_run_rate", 0.1, found)
    worse = compare_folders(b, a, draws=100, seed=1)
    with pytest.raises(EvaluationError, match=r"exact_match is 0.1.*misses the asked 0.9"):
        required("exact_match", 0.9, worse)
    with pytest.raises(EvaluationError, match="no metric 'speed'"):
        required("speed", 1, found)


def test_other_holes_cannot_be_compared(tmp_path: Path, data: Path) -> None:
    a = evaluate(tmp_path / "a", data, good)
    b = evaluate(tmp_path / "b", data, good, limit=7)
    with pytest.raises(EvaluationError, match="their holes differ"):
        compare_folders(a, b, draws=10, seed=1)


def as_tuned(folder: EvaluationFolder) -> None:
    facts = folder.facts()
    identity = dict(facts["identity"])  # type: ignore[call-overload]
    folder.add_facts({"identity": {**identity, "adapter_sha256": "0" * 64}})


def test_an_adapter_that_does_nothing_is_called_out(tmp_path: Path, data: Path) -> None:
    a, b = evaluate(tmp_path / "a", data, poor), evaluate(tmp_path / "b", data, poor)
    as_tuned(b)
    found = compare_folders(a, b, draws=100, seed=1)
    assert found.identical_outputs == 1
    assert [problem.kind for problem in found.problems] == ["no_op_adapter"]
    assert "did not load" in found.reason
    with pytest.raises(EvaluationError, match="did not load"):
        required("exact_match", 0.0, found)


def test_a_leaky_split_is_called_out(tmp_path: Path) -> None:
    path = tmp_path / "leaky.jsonl"
    made = rows(40)
    copies = [
        {**row, "id": f"c{row['id']}", "document_id": f"c{row['id']}", "split": "train"}
        for row in made
        if row["split"] == "held_out"
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in made + copies))
    a, b = evaluate(tmp_path / "a", path, poor), evaluate(tmp_path / "b", path, good)
    found = compare_folders(a, b, draws=100, seed=1)
    assert found.verdict == "not enough to tell"
    assert "held-out code stands in the training data" in found.problems[0].message
    page = make_page(found, a, b, seed=1)
    assert "this split leaks" in page.leak_note
    assert page.leaks[0].rows


def test_the_page_shows_everything_and_fetches_nothing(tmp_path: Path, data: Path) -> None:
    a = evaluate(tmp_path / "a", data, poor, train_holes=5, is_probed=True)
    b = evaluate(tmp_path / "b", data, good, train_holes=5, is_probed=True)
    found = compare_folders(a, b, draws=100, seed=1)
    text = write_page(found, a, b, tmp_path / "page.html", seed=1).read_text()
    for wanted in (
        "95 % interval",
        "rest of line",
        "best constant",
        "500 ms",
        "chosen by seed",
        "Memorised or learned?",
        "The gaps",
        "Rates of each side (Wilson)",
        "Leaks",
        "only B right",
        str(b.identity()["suite_sha256"]),
    ):
        assert wanted in text, wanted
    assert "<script" not in text
    assert "http:" not in re.sub(r"http://127\.0\.0\.1:\d+", "", text)
    cells = make_page(found, a, b, seed=1).cells
    assert {cell.outcome for cell in cells} == {"won"}
    assert len(cells) == 10


def humaneval_answer(prefix: str, suffix: str) -> str:
    for item in ITEMS:
        if item.example.prefix == prefix and item.example.suffix == suffix:
            return item.example.middle
    return "?"


ITEMS = single_line_items(read_problems())


def test_humaneval_is_executed_and_pass_at_k_counts_draws(tmp_path: Path) -> None:
    folder = evaluate(
        tmp_path / "he",
        None,
        humaneval_answer,
        suite="humaneval-single-line",
        limit=3,
        draws=3,
        temperature=0.5,
    )
    result = json.loads(folder.result.read_text())
    assert result["metrics"]["pass_at_1"] == 1.0
    assert result["pass_at_k"] == {"1": 1.0, "2": 1.0, "3": 1.0}
    assert folder.facts()["gold"]["share"] == 1.0  # type: ignore[index]
    bad = evaluate(
        tmp_path / "bad", None, lambda *_: "    pass\n", suite="humaneval-single-line", limit=3
    )
    found = json.loads(bad.result.read_text())["metrics"]
    assert found["pass_at_1"] < 1.0
    other = evaluate(
        tmp_path / "one", None, humaneval_answer, suite="humaneval-single-line", limit=3
    )
    comparison = compare_folders(bad, other, draws=100, seed=1)
    assert comparison.primary == "pass_at_1"
    page = make_page(comparison, bad, other, seed=1)
    assert page.sandbox
    assert not any(table.title == "Several answers per hole" for table in page.tables)
    drawn = make_page(compare_folders(folder, folder, draws=50, seed=1), folder, folder, seed=1)
    assert any(table.title == "Several answers per hole" for table in drawn.tables)
    assert any(row[0] == "InCoder 6.7B" for table in page.tables for row in table.rows)


def test_a_suite_whose_gold_fails_is_refused(tmp_path: Path) -> None:
    row = {
        "task_id": "RandomSpanInfilling/HumanEval/0/1",
        "entry_point": "f",
        "prompt": "def f(x):\n    return x",
        "suffix": "\n",
        "canonical_solution": " + 2",
        "test": "def check(candidate):\n    assert candidate(1) == 2\n",
    }
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    with pytest.raises(EvaluationError, match=r"1 of 1 true answers .* do not score"):
        evaluate(tmp_path / "x", tmp_path / "x.jsonl", good, suite="humaneval-random-span")
    repobench = {
        "repo_name": "a",
        "file_path": "b.py",
        "import_statement": "",
        "cropped_code": "x",
        "next_line": "# only a comment",
    }
    (tmp_path / "r.jsonl").write_text(json.dumps(repobench))
    with pytest.raises(EvaluationError, match="true answers of repobench do not score"):
        evaluate(tmp_path / "r", tmp_path / "r.jsonl", good, suite="repobench")


def test_the_suite_s_own_rule_decides(tmp_path: Path) -> None:
    row = {
        "name": "p",
        "language": "py",
        "prompt": "def f(x):",
        "suffix": "    return y",
        "canonical_solution": "    y = x",
    }
    (tmp_path / "s.jsonl").write_text(json.dumps(row))
    folder = evaluate(
        tmp_path / "s", tmp_path / "s.jsonl", lambda *_: "y = x\n", suite="santacoder-fim"
    )
    metrics = json.loads(folder.result.read_text())["metrics"]
    assert metrics["suite_score"] == 1.0
    assert metrics["exact_match"] == 0.0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"suite": "nothing"}, "no suite 'nothing'"),
        ({"suite": "humaneval-random-span"}, "none was given"),
        ({"suite": "own"}, "the suite own needs examples"),
    ],
)
def test_wrong_requests_are_told(tmp_path: Path, more: dict[str, str], message: str) -> None:
    request = EvaluationRequest(out=tmp_path / "x", **more)  # type: ignore[arg-type]
    with pytest.raises((EvaluationError, SourceNotFoundError), match=message):
        run_evaluation(resolved(), request)


def test_an_adapter_and_a_server_exclude_each_other(tmp_path: Path, data: Path) -> None:
    request = EvaluationRequest(
        suite="own", out=tmp_path / "x", data=data, endpoint="http://x", adapter=tmp_path
    )
    with pytest.raises(ConflictingSettingsError, match="--adapter and --endpoint"):
        run_evaluation(resolved(), request)


def test_a_dead_server_keeps_the_folder_for_later(tmp_path: Path, data: Path) -> None:
    request = EvaluationRequest(
        suite="own", out=tmp_path / "x", data=data, endpoint="http://127.0.0.1:9"
    )
    with pytest.raises(OutputError, match="cannot be asked"):
        run_evaluation(resolved(), request)
    with pytest.raises(EvaluationError, match="holds no samples"):
        EvaluationFolder(tmp_path / "x").read()
    with pytest.raises(EvaluationError, match=r"holds no evaluation\.json"):
        rescore_folder(tmp_path / "nowhere")


def test_plain_rows_are_split_as_training_splits_them(tmp_path: Path) -> None:
    path = tmp_path / "plain.jsonl"
    plain = [{k: v for k, v in row.items() if k != "split"} for row in rows(120)]
    path.write_text("".join(json.dumps(row) + "\n" for row in plain))
    folder = evaluate(tmp_path / "x", path, good)
    assert 0 < len(folder.read()) < 60
    facts = folder.facts()["suite_facts"]
    assert facts["split"] == "as fim train splits this file"  # type: ignore[index]
