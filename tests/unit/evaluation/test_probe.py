from __future__ import annotations

import pytest

from fim.evaluation.probe import probe_items, rewrite
from fim.evaluation.suites import TEST_PART, TRAIN_PART, SuiteItem
from fim.types import FimExample

CODE = '''def mean(values, scale=1):
    """Return the mean."""
    total = 0
    for value in values:
        total += value * scale
    return total / len(values)
'''


def hole(middle: str, code: str = CODE, language: str = "Python") -> FimExample:
    before, _, after = code.partition(middle)
    return FimExample(before, middle, after, language=language, id="x")


def test_locals_are_renamed_and_docstrings_go_while_parameters_stay() -> None:
    found = rewrite(hole("        total += value * scale\n"))
    assert found is not None
    whole = found.prefix + found.middle + found.suffix
    assert found.middle == "        var_0 += var_1 * scale\n"
    assert "Return the mean" not in whole
    assert "def mean(values, scale=1)" in whole
    scope: dict[str, object] = {}
    exec(whole, scope)
    assert scope["mean"]([2, 4]) == 3  # type: ignore[operator]


def test_a_docstring_that_holds_the_hole_stays() -> None:
    found = rewrite(hole("the mean"))
    assert found is not None
    assert found.middle == "the mean"


def test_a_hole_inside_a_renamed_name_is_left_out() -> None:
    assert rewrite(hole("tal = 0")) is None


@pytest.mark.parametrize(
    ("code", "language"),
    [
        ("x = 1\n", "Python"),
        ("let x = 1;\n", "JavaScript"),
        ("def f(:\n", "Python"),
        ("def f():\n    x = 1\n    return locals()\n", "Python"),
        ("def f():\n    global x\n    x = 1\n", "Python"),
        ("def f():\n    x = 1\n    return f'{x}'\n", "Python"),
    ],
)
def test_what_cannot_be_rewritten_is_left_out(code: str, language: str) -> None:
    assert rewrite(hole("x", code, language)) is None


def test_nested_scopes_and_unicode_keep_their_meaning() -> None:
    code = (
        "def outer(n):\n"
        '    """Säge."""\n'
        "    größe = [i * n for i in range(3)]\n"
        "    def inner(x):\n        y = x + sum(größe)\n        return y\n"
        "    try:\n        z = inner(1)\n    except ValueError as error:\n        raise error\n"
        "    import math as m\n    return z, m.floor(1.5)\n"
    )
    found = rewrite(hole("        return y\n", code))
    assert found is not None
    whole = found.prefix + found.middle + found.suffix
    assert "größe" not in whole
    first: dict[str, object] = {}
    second: dict[str, object] = {}
    exec(code, first)
    exec(whole, second)
    assert first["outer"](2) == second["outer"](2)  # type: ignore[operator]


def test_twins_have_parts_of_their_own() -> None:
    items = [
        SuiteItem(hole("total = 0"), kind="k", cluster="c", part=part)
        for part in (TEST_PART, TRAIN_PART)
    ]
    twins = probe_items(items)
    assert [twin.part for twin in twins] == ["probe", "train probe"]
    assert twins[0].example.id == "probe/x"
