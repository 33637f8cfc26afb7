"""The contract of ``fim.logger``: one place that configures logging, text or JSON, to stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fim.logger import configure_logging, get_logger


def test_loggers_are_below_the_package() -> None:
    assert get_logger("data").name == "fim.data"
    assert get_logger("fim.data").name == "fim.data"


def test_the_log_goes_to_stderr_and_to_a_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    configure_logging(level="WARNING", file=tmp_path / "log" / "fim.log")
    get_logger("data").info("quiet")
    get_logger("data").warning("three rows dropped")
    told = capsys.readouterr()
    assert told.out == ""
    assert "three rows dropped" in told.err
    assert "quiet" not in told.err
    assert "three rows dropped" in (tmp_path / "log" / "fim.log").read_text()


def test_lines_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(format="json")
    get_logger("train").info("step", extra={"loss": 0.5})
    line = json.loads(capsys.readouterr().err)
    assert (line["level"], line["logger"], line["message"]) == ("INFO", "fim.train", "step")
    assert line["loss"] == 0.5
