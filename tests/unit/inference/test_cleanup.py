"""Clean-ups are pure, named and explicit."""

from __future__ import annotations

import pytest

from fim.errors import InvalidSettingError
from fim.inference.cleanup import (
    CLEAN_UPS,
    CUT_AT_FENCE,
    DROP_OVERLAP,
    REMOVE_FENCE,
    clean_up,
    cut_at_closing_fence,
    drop_repeated_prefix,
    drop_repeated_suffix,
    ended_by,
    remove_markdown_fence,
)
from fim.inference.stops import BLOCK


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a + b", "a + b"),
        ("```python\n  a\n b\n```", "  a\n b"),
        ("Sure:\n```\na\n```\nThat is it.", "a"),
        ("```py\na", "a"),
        ("```\n```", ""),
        ("````md\n```\na\n```\n````", "```\na\n```"),
        ("~~~\na\n```\n~~~", "a\n```"),
        ("```", ""),
        ("x = '```'\n", "x = '```'\n"),
    ],
)
def test_remove_markdown_fence(text: str, expected: str) -> None:
    assert remove_markdown_fence(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("a\nb\n```\nc", "a\nb"), ("a\nb\n", "a\nb\n"), ("```\nc", "")]
)
def test_cut_at_closing_fence(text: str, expected: str) -> None:
    assert cut_at_closing_fence(text) == expected


@pytest.mark.parametrize(
    ("text", "prefix", "expected"),
    [
        ("    return x", "def f(x):\n    ret", "urn x"),
        ("    return x", "def f(x):\n    return ", "x"),
        ("def f(x):\n    return x", "a\ndef f(x):\n    return ", "x"),
        ("(b)", "f((", "(b)"),
        ("    x", "a\n    ", "    x"),
        ("x", "", "x"),
        ("a = 1", "a = 1\na = ", "1"),
    ],
)
def test_drop_repeated_prefix(text: str, prefix: str, expected: str) -> None:
    assert drop_repeated_prefix(text, prefix) == expected


@pytest.mark.parametrize(
    ("text", "suffix", "expected"),
    [
        ("x\n    return x", "\n    return x\n", "x"),
        ("f(x)", ")\n", "f(x)"),
        ("a, b)", " b)", "a,"),
        ("a", "", "a"),
        ("a\n", "\n", "a\n"),
    ],
)
def test_drop_repeated_suffix(text: str, suffix: str, expected: str) -> None:
    assert drop_repeated_suffix(text, suffix) == expected


def test_clean_ups_share_one_signature_and_chain() -> None:
    both = REMOVE_FENCE.then(DROP_OVERLAP)
    assert both.name == "remove_fence+drop_overlap"
    assert both.apply("```\nx = 1\n```", "x = ", "") == "1"
    assert CUT_AT_FENCE.apply("1\n```", "", "") == "1"
    assert DROP_OVERLAP.apply("x = 1 + y", "x = ", " + y") == "1"


def test_a_stop_rule_ends_a_finished_answer_too() -> None:
    clean = ended_by(BLOCK)
    assert clean.name == "block"
    assert clean.apply("1\ny = 2", "x = ", "") == "1"
    assert clean.apply("a,\nb", "(", ")\n") == "a,"
    assert clean.apply("  a,\n  b\nc", "(\n", ")\n") == "  a,\n"
    assert clean.apply("  a,", "(\n", ")\n") == "  a,\n"
    assert clean.apply("x = 1\ny = 2", "\n", "") == "x = 1\ny = 2"
    assert clean.apply("", "x = ", "") == ""


def test_by_name() -> None:
    assert [clean_up(name).name for name in CLEAN_UPS] == list(CLEAN_UPS)
    with pytest.raises(InvalidSettingError, match="there is no clean-up 'strip'"):
        clean_up("strip")
