from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.errors import RunFolderError
from fim.reporting import choose_items, report_from_run
from fim.reporting.data import StageTime


def edit(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    path.write_text(json.dumps(value), encoding="utf-8")


def test_reads_a_finished_run(run_folder: Path) -> None:
    data = report_from_run(run_folder)

    assert data.run_id == "20261122-1430-smollm2-135m-instruct-3f9a"
    assert data.format == "psm v1, psm, smollm2 tokens, 4 anchor lines"
    assert data.comparison is not None
    assert [row.name for row in data.comparison.rows][:2] == ["nll_per_token", "edit_similarity"]
    assert data.comparison.rows[0].base_name == "base-left-to-right"
    assert data.comparison.contestants[-1].metrics["nll_per_token"] is None
    assert data.stages[2] == StageTime("train", 288.7)
    assert data.data.files_dropped["too_large"] == 31
    assert data.data.holes == {"train": 1280, "held_out": 200}
    assert data.notes[-1].startswith("Fewer than 300 holes")
    assert data.headline.startswith("On 200 held-out holes from 57 files the tuned model beats")
    assert {fact.label for fact in data.training} >= {"Training time", "Held-out loss"}
    assert "packages.torch" in {fact.label for fact in data.environment}


def test_curve_merges_records_of_one_step(run_folder: Path) -> None:
    curve = report_from_run(run_folder).curve

    assert [point.step for point in curve] == list(range(1, 81))
    assert curve[19].loss is not None
    assert curve[19].eval_loss is not None
    assert curve[18].eval_loss is None


def test_curve_leaves_out_records_without_figures(run_folder: Path) -> None:
    rows = ['{"train_loss": 2.0}', '{"step": 3, "epoch": 1}', '{"step": 4, "loss": NaN}']
    (run_folder / "metrics.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")

    assert report_from_run(run_folder).curve == ()


def test_settings_carry_their_source_and_no_token(run_folder: Path) -> None:
    settings = {fact.label: fact for fact in report_from_run(run_folder).settings}

    assert settings["train.learning_rate"].source == "environment FIM_TRAIN_LEARNING_RATE"
    assert settings["lora.target_modules"].value == "q_proj, k_proj, v_proj"
    assert settings["model.revision"].value == "null"
    assert "hf.token" not in settings


def test_samples_are_cut_to_their_surroundings(run_folder: Path) -> None:
    samples = {sample.item: sample for sample in report_from_run(run_folder).samples}
    cut = samples["statistics.py:0007"]

    assert cut.is_prefix_cut
    assert cut.prefix_tail.endswith("except TypeError:\n        ")
    assert cut.base_output == "data = list(data)\n"
    assert cut.tuned_output == "n = 0\n"
    assert not samples["csv.py:0019"].is_prefix_cut


def test_very_long_lines_are_cut(run_folder: Path) -> None:
    path = run_folder / "eval" / "tuned.samples.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows = [row | {"prefix": "x" * 9000, "suffix": "y" * 9000} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    sample = report_from_run(run_folder).samples[0]

    assert len(sample.prefix_tail) == len(sample.suffix_head) == 1200
    assert sample.is_prefix_cut
    assert sample.is_suffix_cut


def test_a_run_without_evaluation_says_so(run_folder: Path) -> None:
    (run_folder / "eval" / "comparison.json").unlink()

    data = report_from_run(run_folder)

    assert data.comparison is None
    assert data.samples == ()
    assert data.headline == "This run was not evaluated, so nothing is known about its gain."


def test_only_the_summary_is_needed(tmp_path: Path) -> None:
    summary = {"run": "r", "created": "now", "model": "m"}
    (tmp_path / "summary.json").write_text(json.dumps(summary), encoding="utf-8")

    data = report_from_run(tmp_path)

    assert (data.title, data.format, data.curve, data.settings) == (
        "Base against tuned",
        "",
        (),
        (),
    )


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder") as caught:
        report_from_run(tmp_path / "nowhere")

    assert caught.value.exit_code == 7
    assert "fim runs list" in caught.value.hint


def test_missing_samples_are_an_error(run_folder: Path) -> None:
    (run_folder / "eval" / "tuned.samples.jsonl").unlink()

    with pytest.raises(RunFolderError, match=r"tuned\.samples\.jsonl is missing"):
        report_from_run(run_folder)


def test_unknown_kind_of_contestant(run_folder: Path) -> None:
    path = run_folder / "eval" / "comparison.json"
    edit(path, lambda value: value["contestants"][0].update(kind="winner"))

    with pytest.raises(RunFolderError, match="`kind` is 'winner'"):
        report_from_run(run_folder)


def test_each_metric_may_have_its_own_opponent(run_folder: Path) -> None:
    path = run_folder / "eval" / "comparison.json"
    edit(path, lambda value: value["metrics"]["stop_rate"].update(base_name="base-chat"))

    comparison = report_from_run(run_folder).comparison

    assert comparison is not None
    assert comparison.rows[3].base_name == "base-chat"


DOCUMENTS = {f"{name}:{index}": name for name in "abcdef" for index in range(4)}


def test_choice_takes_each_document_first() -> None:
    chosen = choose_items(DOCUMENTS, seed=3407)

    assert len(chosen) == 5
    assert len({DOCUMENTS[item] for item in chosen}) == 5


def test_choice_fills_up_from_few_documents() -> None:
    chosen = choose_items({"a:0": "a", "a:1": "a", "b:0": "b"}, seed=1)

    assert sorted(chosen) == ["a:0", "a:1", "b:0"]


@given(st.permutations(sorted(DOCUMENTS)), st.integers(0, 9))
def test_choice_does_not_depend_on_order(items: list[str], seed: int) -> None:
    shuffled = {item: DOCUMENTS[item] for item in items}

    assert choose_items(shuffled, seed=seed) == choose_items(DOCUMENTS, seed=seed)


def test_choice_depends_on_the_seed() -> None:
    assert choose_items(DOCUMENTS, seed=1) != choose_items(DOCUMENTS, seed=2)
