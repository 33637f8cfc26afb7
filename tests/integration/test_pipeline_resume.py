"""Runs that go on with something else, and starts that fail: on a small random model."""

from __future__ import annotations

import json
import logging
import math
import shutil
from pathlib import Path

import pytest

from fim.cli.app import main
from fim.config import ResolvedSettings, load_settings
from fim.config.settings import setting_values
from fim.errors import (
    ConflictingSettingsError,
    EmptyDatasetError,
    FimError,
    FormatUnsupportedError,
    MissingExtraError,
    ResumeMismatchError,
    RunFolderError,
    SourceNotFoundError,
    UnknownFormatError,
)
from fim.pipeline import run_training
from fim.planning import plan_training
from fim.runs import RunFolder
from pipeline_toys import environment, write_rows

DONE_STEPS = 4


@pytest.fixture(scope="module")
def finished(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with ``rows.jsonl`` and a finished run of four steps in ``runs/one``."""
    folder = tmp_path_factory.mktemp("finished")
    rows = write_rows(folder / "rows.jsonl")
    resolved = load_settings(env=environment(tiny_model, rows), cwd=folder)
    run_training(resolved, out=folder / "runs" / "one")
    return folder


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, which is the working folder."""
    folder = Path(shutil.copytree(finished, tmp_path / "here"))
    monkeypatch.chdir(folder)
    config = folder / "runs" / "one" / "config.json"
    record = json.loads(config.read_text())
    record["data"]["path"] = str(folder / "rows.jsonl")
    config.write_text(json.dumps(record))
    return folder


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="fim")
    return caplog


def given(**overrides: object) -> ResolvedSettings:
    """Return the settings of a command that gives these and nothing else."""
    return load_settings(
        overrides={key.replace("__", "."): value for key, value in overrides.items()},
        env={},
        cwd=Path.cwd(),
    )


def rates(run: Path) -> dict[int, float]:
    rows = RunFolder.open(run).read_metrics()
    return {
        int(str(row["step"])): float(str(row["learning_rate"]))
        for row in rows
        if "learning_rate" in row
    }


def contents(run: Path) -> dict[str, bytes]:
    return {str(each): each.read_bytes() for each in run.rglob("*") if each.is_file()}


def test_train_it_longer(here: Path, told: pytest.LogCaptureFixture) -> None:
    run = here / "runs" / "one"
    before = rates(run)
    plan = plan_training(given(train__max_steps=8), resume="last")
    longer = run_training(given(train__max_steps=8), resume="last")
    assert longer.result.steps == 8
    assert "train.max_steps: 4 -> 8 (command line)" in told.text
    assert "the schedule now ends at step 8 or after 5 minutes (before: step 4" in told.text
    assert "the learning rate rises again: it had come down to 0 and is" in told.text
    after = rates(run)
    assert {step: after[step] for step in range(1, DONE_STEPS)} == {
        step: before[step] for step in range(1, DONE_STEPS)
    }
    highest = longer.prepared.settings.train.learning_rate
    expected = highest * 0.5 * (1 + math.cos(math.pi * (5 / 9 - 0.1) / 0.9))
    assert after[5] == pytest.approx(expected)
    assert plan.resumed is not None
    assert plan.resumed.step == DONE_STEPS
    assert set(plan.resumed.news) <= {record.getMessage() for record in told.records}
    assert json.loads((run / "config.json").read_text())["train"]["max_steps"] == 8
    assert json.loads((run / "sources.json").read_text())["train.max_steps"] == "command line"
    (kept,) = map(json.loads, (run / "resumes.jsonl").read_text().splitlines())
    assert kept["checkpoint"] == "checkpoint-4"
    assert kept["changed"] == longer.as_json()["resumed"]["changed"]  # type: ignore[index]
    told.clear()
    again = run_training(given(), resume="last")
    assert again.result.steps == 8
    assert "the run is complete at step 8 of 8: nothing is left to train" in told.text
    assert "--set train.max_steps=16" in told.text


def test_epochs_train_it_longer(here: Path, told: pytest.LogCaptureFixture) -> None:
    longer = run_training(given(train__num_train_epochs=3), resume="last")
    assert longer.result.steps > DONE_STEPS
    assert longer.prepared.settings.train.max_steps == -1
    assert "train.num_train_epochs: 1.0 -> 3.0 (command line)" in told.text
    assert "train.max_steps: 4 -> -1" in told.text


def test_rate_log_and_checkpoint_steps_are_those_given_now(here: Path) -> None:
    longer = run_training(
        given(
            train__max_steps=12,
            train__learning_rate=5e-5,
            train__lr_scheduler_type="constant",
            train__logging_steps=4,
            train__save_steps=5,
            train__weight_decay=0.5,
        ),
        resume="last",
    )
    run = longer.run
    after = rates(run.path)
    assert [step for step in after if step > DONE_STEPS] == [8, 12]
    assert after[8] == 5e-5
    assert sorted(path.name for path in run.checkpoints.iterdir()) == [
        "checkpoint-10",
        "checkpoint-12",
    ]
    import torch

    state = torch.load(run.checkpoints / "checkpoint-12" / "optimizer.pt", weights_only=True)
    assert state["param_groups"][0]["weight_decay"] == 0.5


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.path", "other.jsonl"),
        ("data.format", "spm2"),
        ("data.seed", 1),
        ("lora.r", 8),
        ("corpus.max_files", 3),
        ("train.seed", 1),
        ("train.per_device_train_batch_size", 3),
        ("model.name", "embedded/SmolLM2-135M-Instruct"),
    ],
)
def test_what_would_be_another_run_is_refused_by_name_and_changes_nothing(
    here: Path, key: str, value: object
) -> None:
    write_rows(here / "other.jsonl", num_rows=24)
    run = here / "runs" / "one"
    before = contents(run)
    resolved = given(**{key.replace(".", "__"): value})
    with pytest.raises(ResumeMismatchError, match=key) as refused:
        run_training(resolved, resume="last")
    assert str(value) in refused.value.message
    assert contents(run) == before
    with pytest.raises(ResumeMismatchError, match=key):
        plan_training(resolved, resume="last")
    own = dict(setting_values(load_settings(env={}, cwd=here).settings))[key]
    assert own != value


def test_the_hint_of_a_refusal_is_a_command_that_works(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIM_TRAIN_SEED", "1")
    monkeypatch.setenv("FIM_PRESET", "24gb")
    with pytest.raises(SystemExit) as refused:
        main(["train", "--resume", "last", "--json"])
    assert refused.value.code == 5
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["context"]["differs"] == ["preset", "train.seed"]
    command = error["hint"].split(": ", 1)[1].split()
    assert command[:3] == ["fim", "train", "--resume"]
    with pytest.raises(SystemExit) as done:
        main([*command[1:], "--dry-run", "--json"])
    assert done.value.code == 0
    assert json.loads(capsys.readouterr().out)["resumed"]["changed"] == {}


def test_the_same_data_are_no_difference_wherever_they_lie(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy("rows.jsonl", "moved.jsonl")
    for data in ("rows.jsonl", str(here / "moved.jsonl")):
        with pytest.raises(SystemExit) as done:
            main(["train", "--data", data, "--resume", "last", "--json"])
        assert done.value.code == 0
        shown = capsys.readouterr()
        assert "the run is complete" in shown.err
        changed = json.loads(shown.out)["resumed"]["changed"]
        assert list(changed) == (["data.path"] if "moved" in data else [])


def test_rows_that_changed_in_their_place_are_refused_before_anything_is_written(
    here: Path,
) -> None:
    run = here / "runs" / "one"
    before = contents(run)
    write_rows(here / "rows.jsonl", num_rows=24)
    for call in (run_training, plan_training):
        with pytest.raises(ResumeMismatchError, match="holds other training rows"):
            call(given(), resume="last")
    assert contents(run) == before


def test_a_folder_for_a_new_run_is_refused_beside_resume(here: Path) -> None:
    for call in (run_training, plan_training):
        with pytest.raises(ConflictingSettingsError, match="--out elsewhere and --resume last"):
            call(given(), resume="last", out=Path("elsewhere"))
    assert plan_training(given(), resume="last", out=here / "runs" / "one").resumed is not None


def test_a_dry_run_says_what_the_run_would(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(here)
    with pytest.raises(SystemExit) as done:
        main(["train", "--resume", "last", "--set", "train.max_steps=6", "--dry-run"])
    shown = capsys.readouterr().err
    assert done.value.code == 0, shown
    flat = " ".join(shown.split())
    assert "train.max_steps: 4 -> 6 (command line)" in flat
    assert "the learning rate rises again" in flat
    assert contents(here) == before


def test_last_is_the_newest_run_with_a_checkpoint(
    here: Path, told: pytest.LogCaptureFixture
) -> None:
    newer = RunFolder.create(here / "runs", "tiny")
    newer.set_status("failed", "no rows")
    assert plan_training(given(), resume="last").run_folder == str(here / "runs" / "one")
    assert "has no checkpoint; last is runs/one" in told.text


def start(tiny_model: Path, rows: Path, out: Path, **more: str) -> object:
    variables = environment(tiny_model, rows, FIM_TRAIN_MAX_STEPS="1", **more)
    return run_training(load_settings(env=variables, cwd=out.parent), out=out)


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"FIM_DATA_PATH": "absent.jsonl"}, SourceNotFoundError),
        ({"FIM_TRAIN_REPORT_TO": "absent"}, MissingExtraError),
        ({"FIM_TRAIN_EARLY_STOPPING_METRIC": "exact_match"}, ConflictingSettingsError),
        ({"FIM_DATA_FORMAT": "psn"}, UnknownFormatError),
        ({"FIM_DATA_FORMAT": "chatml", "FIM_DATA_ANCHOR_LINES": "4"}, ConflictingSettingsError),
        ({"FIM_DATA_FORMAT": "chatml-native"}, FormatUnsupportedError),
    ],
)
def test_what_is_known_to_fail_fails_before_there_is_a_folder(
    tiny_model: Path,
    tmp_path: Path,
    variables: dict[str, str],
    error: type[FimError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if "FIM_TRAIN_REPORT_TO" in variables:
        monkeypatch.setattr("fim.training.trackers.find_spec", lambda name: None)
        variables = {"FIM_TRAIN_REPORT_TO": "wandb"}
    rows = write_rows(tmp_path / "rows.jsonl")
    out = tmp_path / "run"
    with pytest.raises(error):
        start(tiny_model, rows, out, **variables)
    assert not out.exists()


def test_a_failed_start_does_not_block_its_folder(
    tiny_model: Path, tmp_path: Path, told: pytest.LogCaptureFixture
) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("", encoding="utf-8")
    rows = write_rows(tmp_path / "rows.jsonl")
    out = tmp_path / "run"
    out.mkdir()
    (out / "note.txt").write_text("mine", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(EmptyDatasetError):
            start(tiny_model, empty, out)
    start(tiny_model, rows, out)
    assert RunFolder.open(out).status.state == "done"
    assert (out / "note.txt").read_text(encoding="utf-8") == "mine"
    assert (out / "failed-1" / "STATUS").read_text(encoding="utf-8").startswith("failed")
    assert (out / "failed-2" / "config.json").is_file()
    assert "failed before its first checkpoint" in told.text
    with pytest.raises(RunFolderError, match="holds a run already") as refused:
        start(tiny_model, rows, out)
    assert f"fim train --resume {out}" in refused.value.hint
