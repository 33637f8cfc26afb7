"""Logging: one place, stderr and a file, text or JSON lines."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fim.logger import close_logging, configure_logging, get_logger


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_logging()
    logging.getLogger("fim").setLevel(logging.NOTSET)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("data", "fim.data"),
        ("fim.data.load", "fim.data.load"),
        ("fim", "fim"),
        ("film", "fim.film"),
    ],
)
def test_names(name: str, expected: str) -> None:
    assert get_logger(name).name == expected


def test_text_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(level="INFO")
    get_logger("x").info("seen %d", 7)
    get_logger("x").debug("hidden")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(" INFO fim.x: seen 7\n")
    assert captured.err.count("\n") == 1


def test_json_lines_hold_facts_and_exceptions(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(format="json")
    try:
        raise ValueError("bad\nvalue")
    except ValueError:
        get_logger("x").exception("failed", extra={"path": Path("a"), "rows": 3})
    line = capsys.readouterr().err
    entry = json.loads(line)
    assert line.count("\n") == 1
    assert entry["level"] == "ERROR"
    assert entry["logger"] == "fim.x"
    assert entry["message"] == "failed"
    assert (entry["path"], entry["rows"]) == ("a", 3)
    assert entry["time"].endswith("+00:00")
    assert entry["exception"].endswith("ValueError: bad\nvalue")


@pytest.mark.parametrize("layout", ["text", "json"])
def test_file_gets_the_log_as_well(tmp_path: Path, layout: str) -> None:
    file = tmp_path / "logs" / "fim.log"
    configure_logging(format=layout, file=file)
    get_logger("x").warning("careful")
    configure_logging(format=layout, file=file)
    get_logger("x").warning("again")
    close_logging()
    lines = file.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 2
    assert all(("careful" in line) or ("again" in line) for line in lines)


def test_configuring_twice_logs_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    configure_logging()
    get_logger("x").warning("once")
    assert capsys.readouterr().err.count("once") == 1


def test_a_file_that_cannot_be_opened_leaves_the_log_as_it_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    configure_logging()
    with pytest.raises(IsADirectoryError):
        configure_logging(file=tmp_path)
    get_logger("x").warning("still here")
    assert "still here" in capsys.readouterr().err


def test_a_terminal_gets_rich_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging()
    (handler,) = logging.getLogger("fim").handlers
    assert type(handler).__name__ == "RichHandler"


def test_other_loggers_are_left_alone() -> None:
    before = list(logging.getLogger().handlers)
    configure_logging()
    assert logging.getLogger().handlers == before


def test_a_logged_name_does_not_act_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    get_logger("x").info("reading %s", "a\x1b[2Jb\r.py")
    assert capsys.readouterr().err.endswith("reading a\\x1b[2Jb\\r.py\n")


def test_a_log_file_on_a_full_disk_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(file=Path("/dev/full"))
    get_logger("x").info("one")
    get_logger("x").info("two")
    told = capsys.readouterr().err
    assert told.count("the log ends in /dev/full, which cannot be written: No space left") == 1
    assert "Traceback" not in told
    assert [line.rpartition(": ")[2] for line in told.splitlines()][::2] == ["one", "two"]
