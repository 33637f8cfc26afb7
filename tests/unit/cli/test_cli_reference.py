"""The generated reference page is fresh, and a stale one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim.cli import reference

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _plain_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TYPER_USE_RICH", "0")
    monkeypatch.setattr("typer.core.HAS_RICH", False)


def test_the_committed_page_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert reference.main(["--check"]) == 0


def test_a_stale_page_is_told_and_written_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reference.main(["--check"]) == 1
    assert "hint: make docs" in capsys.readouterr().err
    assert reference.main([]) == 0
    assert "## `fim quickstart`" in reference.PAGE.read_text(encoding="utf-8")
    assert reference.main(["--check"]) == 0
