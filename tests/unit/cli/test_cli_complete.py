"""Where ``fim complete`` takes its text from, and how it refuses."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from fim.cli.app import main
from fim.cli.complete import cut_at_cursor
from fim.cli.program import program_name
from fim.errors import ConfigError


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    with pytest.raises(SystemExit) as done:
        main(["complete", "--json", *arguments])
    answer = json.loads(capsys.readouterr().out)["error"]
    return {**answer, "code": done.value.code}


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)


@pytest.mark.parametrize(
    ("line", "column", "before"),
    [
        (1, 1, ""),
        (1, 3, "ab"),
        (2, 1, "ab\n"),
        (2, 3, "ab\nc\N{PILE OF POO}"),
        (3, 1, "ab\nc💩\r\n"),
    ],
)
def test_a_cursor_counts_characters_from_one(line: int, column: int, before: str) -> None:
    text = "ab\nc💩\r\n"
    assert cut_at_cursor(text, line, column, name="a.py") == (before, text[len(before) :])


@pytest.mark.parametrize(("line", "column"), [(4, 1), (1, 4), (2, 4)])
def test_a_cursor_outside_the_text_is_refused(line: int, column: int) -> None:
    with pytest.raises(ConfigError, match="is beyond"):
        cut_at_cursor("ab\nc💩\r\n", line, column, name="a.py")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "nothing to complete"),
        (("--line", "1"), "there is no --file"),
        (("--file", "a.py"), "needs --line and --column"),
        (("--file", "a.py", "--line", "1", "--column", "1", "--prefix", "x"), "and no other text"),
        (("--prefix", "-", "--suffix", "-"), "cannot both read stdin"),
        (("--prefix", "x", "--prefix-file", "a.py"), "are both given"),
    ],
)
def test_unclear_text_is_refused(
    arguments: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = refused(capsys, *arguments)
    assert told in str(answer["message"])
    assert answer["hint"]
    assert answer["code"] == 2


def test_a_file_that_cannot_be_read_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refused(capsys, "--prefix-file", "missing.py")["code"] == 3
    (tmp_path / "latin.py").write_bytes(b"caf\xe9")
    answer = refused(capsys, "--file", "latin.py", "--line", "1", "--column", "1")
    assert "is not UTF-8 (byte 3)" in str(answer["message"])


def test_stdin_is_read_before_anything_heavy(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x = \xff"), encoding="utf-8"))
    assert "stdin is not UTF-8" in str(refused(capsys, "--prefix", "-")["message"])


def test_without_a_run_there_is_a_way_on(capsys: pytest.CaptureFixture[str]) -> None:
    answer = refused(capsys, "--prefix", "x = ")
    assert answer["kind"] == "NoFinishedRun"
    assert "fim quickstart" in str(answer["hint"])


def test_the_program_is_named_as_the_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "fim"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setenv("PATH", "")
    assert program_name() == "bin/fim"
    monkeypatch.setenv("PATH", str(program.parent))
    assert program_name() == "fim"
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert program_name().endswith("fim")
