"""What is held out is not trained on, and an adapter knows what it was trained on."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from fim.config import ResolvedSettings, load_settings
from fim.errors import EmptyDatasetError
from fim.evaluating import EvaluationRequest, run_evaluation
from fim.evaluating.page_tables import leak_note
from fim.evaluation import TRAINED_ROWS_FILE
from fim.evaluation.comparing import LEAKS, compare_folders
from fim.evaluation.folder import EvaluationFolder
from fim.pipeline import run_training
from fim.planning import plan_training
from pipeline_toys import environment
from sided_rows import HELD_OUT, LAYOUTS, NUM_HELD_OUT, NUM_TRAIN, TRAIN, unlike_rows, write_lines

SHORT = {"FIM_TRAIN_MAX_STEPS": "2", "FIM_EVAL_MAX_NEW_TOKENS": "4", "FIM_DATA_FORMAT": "psm"}


def settings_of(model: Path, path: Path, cwd: Path) -> ResolvedSettings:
    return load_settings(env=environment(model, path, **SHORT), cwd=cwd)


@pytest.fixture(scope="module")
def run(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on a file whose column ``split`` holds ``train`` and ``test``."""
    folder = tmp_path_factory.mktemp("sided")
    path = LAYOUTS["column train and test"](folder)
    run_training(settings_of(tiny_model, path, folder), out=folder / "run")
    return folder / "run"


def evaluate(
    model: Path, data: Path, out: Path, adapter: Path | None, **more: int
) -> EvaluationFolder:
    request = EvaluationRequest(suite="own", out=out, data=data, adapter=adapter, **more)
    run_evaluation(settings_of(model, data, out.parent), request)
    return EvaluationFolder(out)


def leaks(folder: EvaluationFolder) -> dict[str, object]:
    found = folder.facts()["leaks"]
    assert isinstance(found, dict)
    return found


def counts(folder: EvaluationFolder) -> dict[str, int]:
    found = leaks(folder)["counts"]
    assert isinstance(found, dict)
    return found


def test_marked_rows_are_kept_out_of_training_and_of_the_plan(run: Path, tiny_model: Path) -> None:
    manifest = json.loads((run / "data_manifest.json").read_text())
    assert manifest["examples"] == {"train": NUM_TRAIN, "held_out": NUM_HELD_OUT}
    path = run.parent / "rows.jsonl"
    plan = plan_training(settings_of(tiny_model, path, run.parent)).as_json()
    assert plan["sides"] == manifest["sides"]
    assert (plan["examples"], plan["held_out"]) == (NUM_TRAIN, NUM_HELD_OUT)


def test_scoring_the_held_out_rows_is_no_leak(run: Path, tiny_model: Path, tmp_path: Path) -> None:
    folder = evaluate(tiny_model, run.parent / "rows.jsonl", tmp_path / "own", run / "adapter")
    assert leaks(folder)["is_leaking"] is False
    assert leaks(folder)["trained_rows"] == NUM_TRAIN
    assert len(folder.read()) == NUM_HELD_OUT
    assert "12 rows that the adapter was trained on" in leak_note({}, folder.facts())


@pytest.mark.parametrize("where", ["adapter", "copied", "checkpoint"])
def test_rows_that_were_trained_on_are_a_leak_whatever_file_holds_them(
    run: Path, tiny_model: Path, tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = run / "adapter"
    if where != "adapter":
        copied = run / "checkpoints" / "copy" if where == "checkpoint" else tmp_path / "copied"
        adapter = Path(shutil.copytree(adapter, copied))
    if where == "checkpoint":
        (adapter / TRAINED_ROWS_FILE).unlink()
    moved = [{**row, "prefix": f"  {row['prefix']}", "id": f"x{row['id']}"} for row in TRAIN[:3]]
    data = write_lines(tmp_path / "test.jsonl", [*moved, *HELD_OUT])
    with caplog.at_level(logging.WARNING, logger="fim"):
        folder = evaluate(tiny_model, data, tmp_path / "own", adapter)
    assert leaks(folder)["is_leaking"] is True
    assert counts(folder)["trained_row"] == 3
    assert "the figures are void (trained row: 3)" in caplog.text
    base = evaluate(tiny_model, data, tmp_path / "base", None)
    assert "leaks" not in base.facts()
    found = compare_folders(base, folder, draws=50, seed=1)
    assert LEAKS in {problem.kind for problem in found.problems}
    if where == "checkpoint":
        shutil.rmtree(adapter)


def test_another_hole_of_a_trained_text_is_a_leak(
    run: Path, tiny_model: Path, tmp_path: Path
) -> None:
    row = TRAIN[0]
    prefix = str(row["prefix"])
    cut = prefix.index("\n", 20)
    hole = {
        **row,
        "prefix": prefix[: cut - 12],
        "middle": prefix[cut - 12 : cut],
        "suffix": f"{prefix[cut:]}{row['middle']}{row['suffix']}",
    }
    data = write_lines(tmp_path / "test.jsonl", [hole, *HELD_OUT])
    folder = evaluate(tiny_model, data, tmp_path / "own", run / "adapter")
    assert leaks(folder)["is_leaking"] is True
    assert (counts(folder)["trained_row"], counts(folder)["trained_text"]) == (0, 1)


def test_an_adapter_without_a_record_is_unknown(
    run: Path, tiny_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adapter = Path(shutil.copytree(run / "adapter", tmp_path / "bare"))
    (adapter / TRAINED_ROWS_FILE).unlink()
    data = write_lines(tmp_path / "test.jsonl", HELD_OUT)
    with caplog.at_level(logging.WARNING, logger="fim"):
        folder = evaluate(tiny_model, data, tmp_path / "own", adapter)
    assert leaks(folder)["is_leaking"] == "unknown"
    assert "does not say what it was trained on" in caplog.text
    assert "unknown whether it saw these holes" in leak_note({}, folder.facts())
    base = evaluate(tiny_model, data, tmp_path / "base", None)
    found = compare_folders(base, folder, draws=50, seed=1)
    assert LEAKS not in {problem.kind for problem in found.problems}


def test_a_file_named_for_evaluation_is_not_trained_on(tiny_model: Path, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "test.jsonl", unlike_rows(4))
    with pytest.raises(EmptyDatasetError, match="never trained on"):
        run_training(settings_of(tiny_model, path, tmp_path), out=tmp_path / "run")
    with pytest.raises(EmptyDatasetError, match="never trained on"):
        plan_training(settings_of(tiny_model, path, tmp_path))
