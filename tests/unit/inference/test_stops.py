"""Stop rules cut where they say, and the same in any pieces."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.config import InferSettings
from fim.errors import InvalidSettingError
from fim.inference.stops import (
    BLANK_LINE,
    BLOCK,
    DEDENT,
    FIRST_LINE,
    FIRST_TEXT_LINE,
    NONE,
    STOP_RULES,
    StopRule,
    is_own_line,
    stop_at,
    stop_rule,
)

RULES = (*STOP_RULES.values(), stop_at("```"), stop_at("abab", "ba"), stop_at("\n\n", "a\r"))
CODE = st.text(alphabet=" \t\r\nab`", max_size=24)


def _whole(rule: StopRule, text: str, prefix: str = "", suffix: str = "") -> str:
    scan = rule.scan(text, prefix=prefix, suffix=suffix, final=True)
    return text[: scan.safe_chars]


def _in_pieces(rule: StopRule, text: str, prefix: str, suffix: str) -> str:
    released = 0
    for end in range(1, len(text) + 1):
        scan = rule.scan(text[:end], prefix=prefix, suffix=suffix)
        assert scan.safe_chars >= released
        released = scan.safe_chars
        if scan.cut is not None:
            return text[: scan.cut]
    return _whole(rule, text, prefix, suffix)


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (NONE, "a\n\nb\n", "a\n\nb\n"),
        (FIRST_LINE, "a\nb", "a"),
        (FIRST_LINE, "a  \r\nb", "a  "),
        (FIRST_LINE, "\nb", ""),
        (FIRST_LINE, "a", "a"),
        (FIRST_LINE, "a\r", "a\r"),
        (FIRST_TEXT_LINE, "\n  a \nb", "\n  a "),
        (FIRST_TEXT_LINE, "\n \n", "\n \n"),
        (BLANK_LINE, "a\nb\n\nc", "a\nb"),
        (BLANK_LINE, "a\r\n \t\r\nc", "a"),
        (BLANK_LINE, "\n\n  a\n\n", "\n\n  a"),
        (BLANK_LINE, "a\n", "a\n"),
        (stop_at("```"), "x\n```\ny", "x\n"),
        (stop_at("```"), "x``", "x``"),
        (stop_at("abab", "ba"), "xaba!", "xa"),
        (stop_at("abab", "ba"), "xabab", "x"),
    ],
)
def test_cut(rule: StopRule, text: str, expected: str) -> None:
    assert _whole(rule, text) == expected


@pytest.mark.parametrize(
    ("prefix", "text", "expected"),
    [
        ("def f():\n    x = ", "1\n    y\nz", "1\n    y"),
        ("def f():\n", "    x\n\n\ny", "    x"),
        ("def f():\n    ", "x\r\n    y\r\nz", "x\r\n    y"),
        ("if a:\n\tb", "(\n\t)\nc", "(\n\t)"),
        ("x = ", "1\ny", "1\ny"),
        ("    a", "\nb", ""),
        ("    ", "\n\n    a\n  ", "\n\n    a\n  "),
    ],
)
def test_dedent_cuts_left_of_the_first_line(prefix: str, text: str, expected: str) -> None:
    assert _whole(DEDENT, text, prefix) == expected


@pytest.mark.parametrize(
    ("prefix", "suffix", "text", "expected"),
    [
        ("x = ", "", "1\ny", "1"),
        ("x = (", "\n", "\n    1,\n)", "\n    1,"),
        ("{\n    ", ": 1,\n}", "a: 1,\n    b", "a: 1,"),
        ("def f():\n    ", "\n", "x\n    y\nz", "x\n    y"),
        ("def f():\n    ", "  \r\n", "x\n    y\n", "x\n    y\n"),
        ("", "", "x\ny", "x\ny"),
        ("a\n", "    c\n", "    b\n    d\ne\n", "    b\n"),
    ],
)
def test_a_block_is_the_line_or_what_is_not_left_of_it(
    prefix: str, suffix: str, text: str, expected: str
) -> None:
    cut = BLOCK.scan(text, prefix=prefix, suffix=suffix, final=True)
    assert text[: cut.safe_chars] == expected


@pytest.mark.parametrize(
    ("rule", "text", "expected"),
    [
        (FIRST_LINE, "    b\nc", "    b\n"),
        (FIRST_TEXT_LINE, "\n    b\r\nc", "\n    b\r\n"),
        (BLANK_LINE, "b\nc \n\nd", "b\nc \n"),
        (DEDENT, "  b\n\nc", "  b\n"),
        (stop_at("c"), "b\nc", "b\n"),
        (NONE, "b\nc", "b\nc"),
    ],
)
def test_a_line_of_its_own_keeps_its_line_end(rule: StopRule, text: str, expected: str) -> None:
    cut = rule.scan(text, prefix="a\n", suffix="    x\n", final=True)
    assert text[: cut.safe_chars] == expected


@pytest.mark.parametrize(
    ("prefix", "suffix", "expected"),
    [
        ("", "x", True),
        ("a\n", "  x", True),
        ("a\n", "\nx", False),
        ("a\n", "\r\nx", False),
        ("a\n", "", False),
        ("a\n  ", "x", False),
    ],
)
def test_a_line_of_its_own(prefix: str, suffix: str, expected: bool) -> None:
    assert is_own_line(prefix, suffix) is expected


@pytest.mark.parametrize(
    ("rule", "text", "prefix", "suffix", "expected"),
    [
        (BLOCK, "b", "a\n", "c", "\n"),
        (DEDENT, "b", "a\r\n", "c", "\r\n"),
        (FIRST_LINE, "b", "", "c", "\n"),
        (BLOCK, "b\n", "a\n", "c", ""),
        (BLOCK, "", "a\n", "c", ""),
        (BLOCK, "b", "a\n", "\nc", ""),
        (BLOCK, "b", "a\n  ", "c", ""),
        (NONE, "b", "a\n", "c", ""),
        (stop_at("c"), "b", "a\n", "c", ""),
    ],
)
def test_a_line_of_its_own_that_the_model_ended_is_closed(
    rule: StopRule, text: str, prefix: str, suffix: str, expected: str
) -> None:
    assert rule.missing_line_end(text, prefix=prefix, suffix=suffix) == expected


@given(
    rule=st.sampled_from(RULES),
    text=CODE,
    prefix=st.sampled_from(["", "  a", "\n    ", "b\n"]),
    suffix=st.sampled_from(["", "\n", "  c\n"]),
)
def test_pieces_give_what_the_whole_gives(
    rule: StopRule, text: str, prefix: str, suffix: str
) -> None:
    assert _in_pieces(rule, text, prefix, suffix) == _whole(rule, text, prefix, suffix)


def test_a_rule_is_a_value() -> None:
    assert stop_at("a") == stop_at("a")
    assert stop_rule("first_line") is FIRST_LINE


def test_the_setting_knows_every_rule() -> None:
    assert get_args(InferSettings.model_fields["stop"].annotation) == tuple(STOP_RULES)


def test_an_unknown_rule_names_the_known_ones() -> None:
    with pytest.raises(InvalidSettingError, match="first_lines") as caught:
        stop_rule("first_lines")
    assert "first_line" in caught.value.hint


@pytest.mark.parametrize("texts", [(), ("a", "")])
def test_empty_stop_strings_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(InvalidSettingError, match="end every completion at once"):
        stop_at(*texts)
