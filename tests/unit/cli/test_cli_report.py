from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fim.cli import report_commands


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    report_commands.register(made)
    return made


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run without evaluation under ``runs`` of the working directory."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs" / "20261122-1430-smollm2-3f9a"
    folder.mkdir(parents=True)
    (folder / "STATUS").write_text("done\n", encoding="utf-8")
    summary = {"run": folder.name, "created": "2026-11-22T14:30:00+00:00", "model": "m"}
    (folder / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
    return folder


def test_page_is_written_into_the_run(app: typer.Typer, run: Path) -> None:
    result = CliRunner().invoke(app, ["report", "20261122-1430"])

    assert result.exit_code == 0, result.output
    assert Path(result.stdout.strip()).resolve() == run / "report.html"
    assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_names_the_page_and_the_finding(app: typer.Typer, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "pages" / "mine.html"

    result = CliRunner().invoke(app, ["report", str(run), "--out", str(out), "--json"])

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "run": str(run),
        "report": str(out),
        "headline": "This run was not evaluated, so nothing is known about its gain.",
    }
    assert out.is_file()
    assert not (run / "report.html").exists()


@pytest.mark.parametrize("name", ["nowhere", "20261122"])
def test_what_cannot_be_reported_is_an_error(app: typer.Typer, run: Path, name: str) -> None:
    (run / "summary.json").unlink()

    result = CliRunner().invoke(app, ["report", name, "--json"])

    assert result.exit_code == 7
    error = json.loads(result.stdout)["error"]
    assert error["kind"] == "RunFolder"
    assert "fim runs list" in error["hint"]


def test_help_has_examples(app: typer.Typer) -> None:
    result = CliRunner().invoke(app, ["report", "--help"])

    assert "fim report latest" in result.stdout
