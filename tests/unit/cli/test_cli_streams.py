"""The process's own streams, where they fail."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from fim.cli import app
from fim.cli.streams import AnswerFile, TalkFile, UnwrittenAnswerError, _talk, answers_apart


def test_the_first_answer_without_a_reader_ends_the_command() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    answers = AnswerFile(writer, "w")
    with pytest.raises(SystemExit) as ended:
        answers.write(b"x")
    assert ended.value.code == 141
    assert answers.write(b"later") == 5
    answers.close()


def test_an_answer_that_a_full_disk_refuses_is_told() -> None:
    with (
        AnswerFile("/dev/full", "w") as answers,
        pytest.raises(UnwrittenAnswerError, match="No space"),
    ):
        answers.write(b"x")


def test_talk_that_is_refused_is_dropped(tmp_path: Path) -> None:
    with TalkFile("/dev/full", "w") as talk:
        assert talk.write(b"x") == 1
    with (tmp_path / "talk").open("w") as own:
        _talk(own).write("said\n")
    assert (tmp_path / "talk").read_text() == "said\n"


def test_a_stream_of_somebody_else_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = io.StringIO()
    monkeypatch.setattr(sys, "stdout", mine)
    monkeypatch.setattr(sys, "stderr", None)
    assert answers_apart() is None
    assert sys.stdout is mine
    opened = sys.stderr
    assert opened is not None
    opened.close()


@pytest.mark.parametrize(("arguments", "code"), [(["--version"], 0), (["nowhere"], 2)])
def test_answers_have_a_stream_of_their_own(
    arguments: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(app, "answers_apart", io.StringIO)
    with pytest.raises(SystemExit) as ended:
        app.main(arguments)
    assert ended.value.code == code
    assert sys.stdout is sys.stderr
