from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fim.cli import runs_commands
from fim.runs import RunFolder, RunState


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[RunFolder]:
    """A failed run and, newer, a finished and compared one."""
    monkeypatch.chdir(tmp_path)
    made = [RunFolder.create(tmp_path / "runs", "m", name) for name in ("one", "two")]
    made[0].append_metrics({"step": 3, "loss": 1.25})
    made[0].set_status(RunState.FAILED, "no memory")
    made[1].write_json(
        made[1].comparison, {"metrics": {"exact_match": {"base": 0.1, "tuned": 0.25}}}
    )
    made[1].set_status(RunState.DONE)
    for index, run in enumerate(made):
        config = {"train": {"seed": index, "optim": "adamw"}, "preset": "cpu"}
        run.write_json(run.config, config)
        os.utime(run.status_file, (index + 1_000, index + 1_000))
    return made


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.callback()(lambda: None)
    runs_commands.register(app)
    return CliRunner().invoke(app, ["runs", *arguments])


def test_list(runs: list[RunFolder]) -> None:
    answer = json.loads(invoke("list", "--json").stdout)
    assert [run["id"] for run in answer["runs"]] == ["two", "one"]
    assert answer["runs"][1]["status"] == "failed"
    assert answer["runs"][1]["metrics"] == {"step": 3, "loss": 1.25}
    told = invoke("list").stdout
    assert "failed: no memory" in told
    assert "exact_match 0.1 → 0.25" in told
    assert len(runs) == 2


def test_list_without_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("list")
    assert result.stdout == ""
    assert "fim quickstart" in result.stderr
    assert json.loads(invoke("list", "--json").stdout) == {"runs": []}


def test_show(runs: list[RunFolder]) -> None:
    answer = json.loads(invoke("show", "latest", "--json").stdout)
    assert answer["id"] == "two"
    assert answer["files"] == ["STATUS", "config.json", "eval"]
    told = invoke("show", "one").stdout
    assert "1.25" in told
    assert "no memory" in told
    assert len(runs) == 2


def test_show_of_no_run(runs: list[RunFolder]) -> None:
    result = invoke("show", "three", "--json")
    assert result.exit_code == 7
    assert json.loads(result.stdout)["error"]["kind"] == "RunFolder"
    assert len(runs) == 2


def test_compare(runs: list[RunFolder]) -> None:
    answer = json.loads(invoke("compare", "one", "two", "--json").stdout)
    assert answer == {
        "a": "one",
        "b": "two",
        "settings": {"train.seed": {"a": 0, "b": 1}},
        "metrics": {
            "exact_match": {"a": None, "b": 0.25},
            "loss": {"a": 1.25, "b": None},
            "step": {"a": 3.0, "b": None},
        },
    }
    told = invoke("compare", "one", "two").stdout
    assert "train.seed" in told
    assert " - " in told
    runs[0].metrics.unlink()
    same = invoke("compare", "one", "one")
    assert "same settings" in same.stderr
