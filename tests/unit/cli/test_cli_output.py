"""The only sink: what goes where in each mode, byte for byte."""

from __future__ import annotations

import io
import json
from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.cli.output import Output, OutputMode
from fim.errors import InvalidSettingError

PROBLEM = InvalidSettingError("7 is [bold]odd[/bold]", hint="try `8`", context={"seen": 7})


class Streams:
    """A pair of streams that remember what was written."""

    def __init__(self, mode: OutputMode, *, is_hushed: bool = False) -> None:
        self.out_bytes = io.BytesIO()
        self.err = io.StringIO()
        out = io.TextIOWrapper(self.out_bytes, encoding="ascii", newline="\r\n")
        self.output = Output(mode, is_hushed=is_hushed, stdout=out, stderr=self.err)
        self._out = out

    @property
    def out(self) -> str:
        """Return the text of stdout."""
        self._out.flush()
        return self.out_bytes.getvalue().decode("utf-8")


@pytest.fixture(params=[OutputMode.HUMAN, OutputMode.JSON, OutputMode.QUIET])
def streams(request: pytest.FixtureRequest) -> Streams:
    return Streams(request.param)


@pytest.mark.parametrize("text", ["", "a\nb\r\n\tc  ", "é😀", "no newline", "[red]x[/red]"])
def test_an_answer_is_written_byte_for_byte(streams: Streams, text: str) -> None:
    streams.output.write_text(text)
    assert streams.out_bytes.getvalue() == text.encode()
    assert streams.err.getvalue() == ""


def test_undecodable_bytes_survive(streams: Streams) -> None:
    streams.output.write_text(b"\xff".decode("utf-8", errors="surrogateescape"))
    assert streams.out_bytes.getvalue() == b"\xff"


def test_an_answer_to_a_text_only_stream() -> None:
    out = io.StringIO()
    Output(stdout=out).write_text("a\n")
    assert out.getvalue() == "a\n"


def test_json_answer_is_one_valid_object(streams: Streams) -> None:
    streams.output.write_json(
        {"nan": float("nan"), "path": Path("a"), "rows": ({"x": 1}, [True, None, 0.5]), "t": "é"}
    )
    assert json.loads(streams.out) == {
        "nan": None,
        "path": "a",
        "rows": [{"x": 1}, [True, None, 0.5]],
        "t": "é",
    }


def test_talk_goes_to_stderr_but_not_in_quiet_mode(streams: Streams) -> None:
    streams.output.say("working on [1]")
    streams.output.hint("go on")
    expected = "" if streams.output.is_quiet else "working on [1]\nhint: go on\n"
    assert streams.err.getvalue() == expected
    assert streams.out == ""


def test_warnings_are_always_told(streams: Streams) -> None:
    streams.output.warn("careful")
    assert streams.err.getvalue() == "warning: careful\n"


def test_errors(streams: Streams) -> None:
    streams.output.error(PROBLEM)
    if streams.output.is_json:
        assert json.loads(streams.out) == PROBLEM.as_json()
        assert streams.err.getvalue() == ""
    else:
        assert streams.out == ""
        assert streams.err.getvalue() == "error: 7 is [bold]odd[/bold]\nhint: try `8`\n"


def test_an_error_without_a_hint_has_no_hint_line() -> None:
    streams = Streams(OutputMode.HUMAN)
    streams.output.error(InvalidSettingError("odd"))
    assert streams.err.getvalue() == "error: odd\n"


def test_long_lines_are_not_wrapped() -> None:
    streams = Streams(OutputMode.HUMAN)
    streams.output.hint("fim " + "x" * 200)
    assert streams.err.getvalue().count("\n") == 1


@pytest.mark.parametrize("is_answer", [True, False])
def test_tables_fit_eighty_columns(monkeypatch: pytest.MonkeyPatch, *, is_answer: bool) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    streams = Streams(OutputMode.HUMAN)
    rows = [("a.setting.of.some.length", "x" * 150, "1"), ("[b]", "é", "20")]
    streams.output.table(("name", "value", ">n"), rows, title="All [of] it", is_answer=is_answer)
    text = streams.out if is_answer else streams.err.getvalue()
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "a.setting.of.some.length" in text
    assert "[b]" in text
    assert "All [of] it" in text
    assert text.count("x") == 150
    assert (streams.err.getvalue() if is_answer else streams.out) == ""


def test_quiet_mode_shows_a_table_only_when_it_answers() -> None:
    streams = Streams(OutputMode.QUIET)
    streams.output.table(("a",), [("talk",)])
    streams.output.table(("a",), [("answer",)], is_answer=True)
    assert "talk" not in streams.err.getvalue()
    assert "answer" in streams.out


def test_json_mode_shows_no_table() -> None:
    streams = Streams(OutputMode.JSON)
    streams.output.table(("a",), [("b",)], is_answer=True)
    assert (streams.out, streams.err.getvalue()) == ("", "")


def test_a_hushed_json_output_does_not_talk() -> None:
    streams = Streams(OutputMode.JSON, is_hushed=True)
    streams.output.say("psst")
    assert streams.err.getvalue() == ""


@given(st.text(), st.text(alphabet="\x00\x07\x08\r\x1b\x7f\x9b\u202e\u2028a[31m"))
def test_no_text_acts_on_the_terminal(start: str, rest: str) -> None:
    streams = Streams(OutputMode.HUMAN)
    text = start + rest
    streams.output.say(text)
    streams.output.warn(text)
    streams.output.error(InvalidSettingError(text, hint=text))
    streams.output.table((text, "b"), [(text, text)], title=text)
    shown = streams.err.getvalue()
    assert all(
        category(each) not in {"Cc", "Cf", "Cs", "Zl", "Zp"} for each in shown if each not in "\n\t"
    )


def test_what_is_escaped_can_be_read() -> None:
    streams = Streams(OutputMode.HUMAN)
    streams.output.say("a\x1b[2J\r\x07b \u3000\u00e9\nc")
    assert streams.err.getvalue() == "a\\x1b[2J\\r\\x07b \u3000\u00e9\nc\n"


def test_an_empty_table_is_fine() -> None:
    streams = Streams(OutputMode.HUMAN)
    streams.output.table(("a", "b"), [])
    assert "a" in streams.err.getvalue()


def test_no_colour_off_a_terminal_and_with_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    streams = Streams(OutputMode.HUMAN)
    streams.output.error(PROBLEM)
    monkeypatch.setenv("NO_COLOR", "1")
    assert streams.output.console().no_color
    assert "\x1b" not in streams.err.getvalue()


def test_process_streams_are_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output()
    output.write_text("data\n")
    output.say("talk")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("data\n", "talk\n")
