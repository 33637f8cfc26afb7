"""A run's own records: its status whatever happens, and what it goes on with."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from drawn_settings import as_setting, every_key, other_value
from fim.bookkeeping import (
    find_resumable,
    fingerprint_settings,
    go_on_with,
    open_run,
    recording,
    settings_of_run,
)
from fim.config import load_settings
from fim.config.settings import setting_values
from fim.errors import (
    EmptyDatasetError,
    FimError,
    InterruptedRunError,
    ResumeMismatchError,
    RunFolderError,
)
from fim.runs import RunFolder, compare_runs


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return open_run(load_settings(env={}, cwd=tmp_path), tmp_path / "run")


def test_a_run_is_running_and_then_done(run: RunFolder) -> None:
    with recording(run):
        assert run.status.state == "running"
    assert run.status.state == "done"


@pytest.mark.parametrize(
    ("error", "state", "reason"),
    [
        (EmptyDatasetError("no rows"), "failed", "no rows"),
        (ZeroDivisionError("by zero"), "failed", "ZeroDivisionError: by zero"),
        (InterruptedRunError("stopped after step 3"), "interrupted", "stopped after step 3"),
    ],
)
def test_the_status_says_how_a_run_ended(
    run: RunFolder, error: Exception, state: str, reason: str
) -> None:
    with pytest.raises(type(error)), recording(run):
        raise error
    assert (run.status.state, run.status.reason) == (state, reason)


def test_ctrl_c_before_training_leaves_nothing_to_resume(run: RunFolder) -> None:
    reason = "holds no checkpoint yet"
    with pytest.raises(InterruptedRunError, match=reason) as stopped, recording(run):
        raise KeyboardInterrupt
    assert stopped.value.exit_code == 130
    assert stopped.value.hint == "run the same command again"
    assert run.status.state == "interrupted"


def test_a_folder_that_is_gone_keeps_the_error_that_matters(
    run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        shutil.rmtree(run.path)
        run.path.write_text("no folder any more", encoding="utf-8")
        raise EmptyDatasetError("no rows")

    caplog.set_level(logging.WARNING, logger="fim")
    with pytest.raises(FimError, match="no rows"), recording(run):
        fail()
    assert str(run.path) in caplog.text


def test_a_run_without_a_checkpoint_cannot_be_resumed(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no checkpoint, so there is nothing") as refused:
        find_resumable(tmp_path, str(run.path))
    assert "fim runs list" in refused.value.hint
    (run.checkpoints / "checkpoint-1").mkdir(parents=True)
    assert find_resumable(tmp_path, str(run.path)).path == run.path


def test_a_resumed_run_has_its_own_settings_and_the_set_it_built(run: RunFolder) -> None:
    settings = settings_of_run(run)
    assert fingerprint_settings(settings) == fingerprint_settings(settings_of_run(run))
    (run.path / "data").mkdir()
    (run.path / "data" / "manifest.json").write_text("{}", encoding="utf-8")
    assert settings_of_run(run).data.path == run.path / "data"
    run.config.write_text("{", encoding="utf-8")
    with pytest.raises(RunFolderError, match="cannot go on as it began") as refused:
        settings_of_run(run)
    assert refused.value.hint == "start a new run: fim train"


def with_checkpoint(run: RunFolder) -> RunFolder:
    folder = run.checkpoints / "checkpoint-1"
    folder.mkdir(parents=True)
    (folder / "fim_checkpoint.json").write_text("{}", encoding="utf-8")
    return run


@pytest.mark.parametrize("key", every_key())
def test_a_changed_setting_is_told_and_kept_or_refused_by_name(
    tmp_path: Path, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="fim")
    plain = {} if key == "model.load_in_4bit" else {"model.load_in_4bit": False}
    began = load_settings(env={}, cwd=tmp_path, overrides=plain)
    run = with_checkpoint(open_run(began, tmp_path / "run"))
    own = dict(setting_values(began.settings))[key]
    value = as_setting(other_value(key, own, tmp_path))
    given = load_settings(env={}, cwd=tmp_path, overrides=plain | {key: value})
    before = run.config.read_text(encoding="utf-8")
    try:
        going_on = go_on_with(given, str(run.path))
    except ResumeMismatchError as refused:
        assert refused.context["differs"] == [key]  # noqa: PT017
        assert f"{key}=" in refused.hint  # noqa: PT017
        assert run.config.read_text(encoding="utf-8") == before
        return
    going_on.tell()
    going_on.record()
    assert f"changed for {run.shown_path}: {key}: " in caplog.text
    (row,) = map(json.loads, run.resumes.read_text(encoding="utf-8").splitlines())
    assert list(row["changed"]) == [key]
    caplog.clear()
    if key == "hf.token":
        assert "other" not in run.config.read_text(encoding="utf-8") + run.resumes.read_text()
        return
    assert run.config.read_text(encoding="utf-8") != before
    again = go_on_with(given, str(run.path))
    assert again.resumed.changes == ()
    assert again.settings == going_on.settings
    assert compare_runs(run, run).settings == {}


def test_a_run_that_refuses_is_what_it_was(run: RunFolder) -> None:
    run.set_status("done")
    with pytest.raises(ResumeMismatchError), recording(run):
        raise ResumeMismatchError("other data")
    assert run.status.state == "done"
