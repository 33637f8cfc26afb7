from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fim.exporting.markdown import code, escape, fenced, front_matter, table


def test_text_cannot_become_markup() -> None:
    assert escape("a|b <i>*x*\n# y") == "a\\|b \\<i\\>\\*x\\* \\# y"


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("x", "`x`"),
        ("a`b", "``a`b``"),
        ("`a`", "`` `a` ``"),
        ("a|b\nc", "`a\\|b c`"),
    ],
)
def test_code_spans(text: str, span: str) -> None:
    assert code(text) == span


def test_table_aligns_figures() -> None:
    assert table(("A", "B"), [("x", "1")]) == "| A | B |\n| --- | ---: |\n| x | 1 |"


def test_fences_end_on_their_own_line() -> None:
    assert fenced("a", "sh") == "```sh\na\n```"
    assert fenced("a\n") == "```\na\n```"


KEYS = st.text("abcdef_-", min_size=1).filter(lambda key: key.strip("-_"))
SCALARS = st.text(max_size=20) | st.integers() | st.booleans() | st.floats(-1e6, 1e6)
VALUES = st.recursive(
    SCALARS, lambda inner: st.dictionaries(KEYS, inner, min_size=1, max_size=3), max_leaves=6
)


@given(st.dictionaries(KEYS, VALUES | st.lists(SCALARS, min_size=1, max_size=3), min_size=1))
def test_front_matter_is_valid_yaml(values: dict[str, object]) -> None:
    text = front_matter(values)
    block = text.removeprefix("---\n").removesuffix("\n---")

    assert text.startswith("---\n")
    assert _shape(yaml.safe_load(block)) == _shape(values)


def _shape(value: object) -> object:
    if isinstance(value, dict):
        return {key: _shape(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shape(inner) for inner in value]
    if isinstance(value, float):
        return round(value, 6)
    return type(value).__name__ if isinstance(value, str) else value
