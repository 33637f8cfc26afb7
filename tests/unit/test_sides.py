"""Training, evaluation, statistics, check and inspection take the same rows for the same side."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fakes import ByteTokenizer
from fim.cli import data_commands, tokenizing
from fim.config import Settings, load_settings
from fim.data import load_examples, load_hub_examples
from fim.errors import EmptyDatasetError, SourceNotFoundError
from fim.evaluating import EvaluationRequest
from fim.evaluating.suites import load_suite
from fim.gathering import Examples, gather_examples
from fim.logger import close_logging
from sided_rows import HELD_OUT, LAYOUTS, NUM_HELD_OUT, NUM_TRAIN, TRAIN, unlike_rows, write_lines


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tokenizing, "load_view", lambda _settings: ByteTokenizer.smollm2())
    yield
    close_logging()


def settings_of(path: Path, **more: object) -> Settings:
    return load_settings(overrides={"data.path": path, **more}, env={}).settings


def gather(path: Path, **more: object) -> Examples:
    return gather_examples(settings_of(path, **more), folder=Path("unused"), progress=None)


def answer(*arguments: str) -> dict[str, object]:
    app = typer.Typer()
    data_commands.register(app)
    result = CliRunner().invoke(app, ["data", *arguments, "--json"])
    found: dict[str, object] = json.loads(result.stdout)
    return found


def ids(rows: object) -> set[object]:
    assert isinstance(rows, list)
    return {row["id"] for row in rows}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_command_takes_the_same_rows(tmp_path: Path, layout: object) -> None:
    assert callable(layout)
    path = layout(tmp_path)
    examples = gather(path)
    assert {each.id for each in examples.train} == ids(TRAIN)
    assert {each.id for each in examples.held_out} == ids(HELD_OUT)
    counts = {"train": NUM_TRAIN, "held_out": NUM_HELD_OUT}
    assert examples.manifest["examples"] == counts
    assert_counted_alike(path, counts)
    request = EvaluationRequest(suite="own", out=tmp_path / "out", data=path, train_holes=99)
    suite, train = load_suite(settings_of(path), request)
    assert {item.example.id for item in suite.items if item.part == "test"} == ids(HELD_OUT)
    assert {each.id for each in train} == ids(TRAIN)
    assert {each.id for each in load_examples(path, settings=settings_of(path).data).examples} == (
        ids(TRAIN)
    )


def assert_counted_alike(path: Path, counts: dict[str, int]) -> None:
    told = answer("stats", str(path))
    sides = told["sides"]
    assert isinstance(sides, dict)
    assert {name: sides[name] for name in counts} == counts
    looked_at = answer("check", str(path))["looked_at"]
    assert isinstance(looked_at, dict)
    assert {name: looked_at[f"{name}_rows"] for name in counts} == counts


def test_rows_without_a_side_are_divided_by_the_seed_alike(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", unlike_rows(40))
    examples = gather(path)
    counts = {"train": 38, "held_out": 2}
    assert examples.manifest["examples"] == counts
    assert_counted_alike(path, counts)
    request = EvaluationRequest(suite="own", out=tmp_path / "out", data=path)
    suite, _ = load_suite(settings_of(path), request)
    assert {item.example.id for item in suite.items} == {each.id for each in examples.held_out}


def test_what_is_held_out_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="fim"):
        examples = gather(LAYOUTS["column train and test"](tmp_path))
    assert (
        "12 rows to train on, 4 held out by the data (split test 4, split train 12" in caplog.text
    )
    sides = examples.manifest["sides"]
    assert isinstance(sides, dict)
    assert sides["split_words"] == {"test": 4, "train": 12}


def test_nothing_held_out_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write_lines(tmp_path / "rows.jsonl", TRAIN[:1])
    with caplog.at_level(logging.INFO, logger="fim"):
        examples = gather(path)
    assert examples.held_out == ()
    assert caplog.text.count("nothing is held out") == 1
    with pytest.raises(EmptyDatasetError, match="none of the 1 rows") as caught:
        load_suite(settings_of(path), EvaluationRequest(suite="own", out=tmp_path, data=path))
    assert "fim eval run --suite own --data test.jsonl" in caught.value.hint


@pytest.mark.parametrize("name", ["test.jsonl", "my-eval.jsonl", "test/rows.jsonl", "valid"])
def test_data_of_which_all_is_held_out_are_not_trained_on(tmp_path: Path, name: str) -> None:
    is_folder = "." not in name
    write_lines(tmp_path / name / "rows.jsonl" if is_folder else tmp_path / name, TRAIN)
    path = tmp_path / name
    with pytest.raises(EmptyDatasetError, match="never trained on") as caught:
        gather(path)
    assert f"fim eval run --suite own --data {path}" in caught.value.hint
    request = EvaluationRequest(suite="own", out=tmp_path / "out", data=path)
    suite, train = load_suite(settings_of(path), request)
    assert len(suite.items) == NUM_TRAIN
    assert train == ()


def test_rows_that_are_all_marked_are_not_trained_on(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", [{**row, "split": "test"} for row in TRAIN])
    with pytest.raises(EmptyDatasetError, match="the column split says test"):
        gather(path)


def test_a_row_s_own_word_comes_before_the_name_of_its_file(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "test.jsonl", [{**row, "split": "train"} for row in TRAIN])
    examples = gather(path)
    assert len(examples.train) + len(examples.held_out) == NUM_TRAIN


def test_a_held_out_side_is_found_beyond_max_examples(tmp_path: Path) -> None:
    train = [{**row, "split": "train"} for row in TRAIN]
    held_out = [{**row, "split": "test"} for row in HELD_OUT]
    path = write_lines(tmp_path / "rows.jsonl", [*train, *held_out])
    examples = gather(path, **{"data.max_examples": 3})
    assert (len(examples.train), len(examples.held_out)) == (3, 3)
    files = LAYOUTS["files train and test"](tmp_path)
    examples = gather(files, **{"data.max_examples": 3})
    assert (len(examples.train), len(examples.held_out)) == (3, 3)


def test_only_a_set_that_holds_something_out_has_that_side(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "rows.jsonl", TRAIN)
    with pytest.raises(SourceNotFoundError, match="no held_out examples"):
        load_examples(path, settings=settings_of(path).data, split="held_out")


def test_inspection_says_the_side(tmp_path: Path) -> None:
    path = LAYOUTS["column train and test"](tmp_path)
    rows = {at: answer("inspect", str(path), "--index", str(at))["side"] for at in (0, 5)}
    assert rows == {0: "train", 5: "held_out"}
    folder = LAYOUTS["files train and test"](tmp_path)
    told = answer("inspect", str(folder), "--split", "held_out", "--index", "3")
    assert told["side"] == "held_out"
    assert answer("inspect", str(folder / "test.jsonl"))["side"] == "held_out"


@pytest.mark.parametrize("is_streaming", [True, False])
def test_other_splits_of_the_hub_are_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_streaming: bool
) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = LAYOUTS["files train and test"](tmp_path)
    data = load_settings(
        overrides={"data.dataset_name": str(folder), "data.streaming": is_streaming}, env={}
    ).settings.data
    loaded = load_hub_examples(data)
    assert {each.id for each in loaded.examples} == ids(TRAIN)
    assert loaded.held_out is not None
    assert {each.id for each in loaded.held_out.examples} == ids(HELD_OUT)
    for split in ("test", "train+test", "validation[:10%]"):
        named = data.model_copy(update={"dataset_split": split})
        with pytest.raises(EmptyDatasetError, match="never trained on"):
            load_hub_examples(named)
