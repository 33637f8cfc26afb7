"""Holes are exact, fair, spread and stable."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fim.corpus.spans import (
    MIN_VISIBLE_CHARS,
    SPAN_WEIGHTS,
    Lines,
    sample_spans,
    weighted_choice,
)
from fim.corpus.syntax import Grammars

GRAMMARS = Grammars()
FUNCTION = '''def area_{n}(width, height):
    """Return the area."""
    if width < 0 or height < 0:
        raise ValueError("negative {n}")
    total = multiply(width, height, scale={n})

    return total + offset_{n}


'''
MODULE = "import os\n\n\n" + "".join(FUNCTION.format(n=n) for n in range(60))


def holes(text: str, language: str = "Python", *, seed: str = "s", max_holes: int = 40) -> list:
    tree = GRAMMARS.parse(text, language)
    return list(sample_spans(text, tree, seed=seed, max_holes=max_holes, max_middle_chars=120))


@given(
    text=st.lists(
        st.sampled_from(
            [*"ab(){}[]:='\"# \n\t\x0cé\U0001f600\ufeff", "\r\n", "e\u0301", "def f(x):\n    "]
        ),
        min_size=40,
        max_size=400,
    ).map("".join),
    language=st.sampled_from(["Python", "Lua"]),
)
@settings(max_examples=150, deadline=None)
def test_every_hole_is_a_fair_slice_of_any_text(text: str, language: str) -> None:
    for span in holes(text, language):
        middle = text[span.start : span.end]
        assert text[: span.start] + middle + text[span.end :] == text
        assert len(middle) <= 120
        if span.kind == "empty":
            assert middle == ""
        else:
            assert middle.strip(" \t\r\n)]}") != ""


def test_the_mixture_follows_the_weights() -> None:
    counts: Counter[str] = Counter()
    for seed in range(80):
        counts.update(span.kind.split(":")[0] for span in holes(MODULE, seed=str(seed)))
    total = counts.total()
    for kind, weight in SPAN_WEIGHTS.items():
        assert abs(100 * counts[kind] / total - weight) < 6, (kind, counts)


def test_all_kinds_of_syntax_appear() -> None:
    kinds = {span.kind for seed in range(40) for span in holes(MODULE, seed=str(seed))}
    wanted = {"statement", "call", "arguments", "block", "condition", "expression"}
    assert {f"syntax:{kind}" for kind in wanted} <= kinds


def test_syntax_offsets_are_characters_after_multi_byte_text() -> None:
    text = 'names = ["\U0001f600é漢字"]\n' + MODULE
    for seed in range(20):
        for span in holes(text, seed=str(seed)):
            if span.kind == "syntax:arguments":
                assert text[span.start - 1] == "("
                assert text[span.end] == ")"


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_rest_of_line_stops_before_the_line_end(ending: str) -> None:
    text = MODULE.replace("\n", ending)
    found = [span for seed in range(20) for span in holes(text, seed=str(seed))]
    ends = [text[span.end : span.end + 2] for span in found if span.kind == "line_end"]
    assert ends
    assert all(rest.startswith(ending) for rest in ends)


def test_no_hole_splits_a_carriage_return_from_its_line_feed() -> None:
    text = MODULE.replace("\n", "\r\n")
    for seed in range(30):
        for span in holes(text, seed=str(seed)):
            assert text[span.start - 1 : span.start + 1] != "\r\n"
            assert text[span.end - 1 : span.end + 1] != "\r\n"


def test_holes_are_spread_and_bounded() -> None:
    spans = holes(MODULE, max_holes=8)
    assert 6 <= len(spans) <= 8
    quarters = {4 * span.start // len(MODULE) for span in spans}
    assert quarters == {0, 1, 2, 3}


def test_short_files_give_one_hole() -> None:
    assert len(holes(FUNCTION.format(n=1))) == 1


def test_same_seed_same_holes_other_seed_other_holes() -> None:
    assert holes(MODULE) == holes(MODULE)
    assert holes(MODULE) != holes(MODULE, seed="t")


def test_imports_and_licence_headers_are_no_holes() -> None:
    header = "# Licensed to nobody in particular.\n" * 20
    text = header + "from a import b\nimport c\n" * 40 + "x = compute(value)\n"
    for seed in range(20):
        for span in holes(text, seed=str(seed)):
            assert span.start >= len(header)
            assert (
                span.kind == "empty"
                or "compute"[:1] in text[span.start : span.end]
                or (not text[span.start : span.end].strip().startswith(("import", "from")))
            )


def test_ten_thousand_nested_brackets_are_survived() -> None:
    text = MODULE + "x = " + "(" * 10_000 + "1" + ")" * 10_000 + "\n"
    assert holes(text)


def test_white_space_gives_no_hole() -> None:
    assert [span for span in holes(" \n" * 50) if span.kind != "empty"] == []


def test_lines_know_both_line_ends() -> None:
    lines = Lines("ab\r\n  c\n\nlast")
    ends = [(lines.start(n), lines.code_start(n), lines.end(n)) for n in range(len(lines))]
    assert ends == [(0, 0, 2), (4, 6, 7), (8, 8, 8), (9, 9, 13)]
    assert lines.is_blank(2)
    assert lines.number(5) == 1


def test_weighted_choice_covers_its_range() -> None:
    weights = {"a": 1, "b": 3}
    assert [weighted_choice(weights, x) for x in (0.0, 0.24, 0.26, 0.999, 1.0)] == list("aabbb")


def test_a_hole_leaves_code_to_see() -> None:
    text = "value = compute(first, second)\n" * 3
    assert len(text) < MIN_VISIBLE_CHARS
    assert holes(text, seed="s", max_holes=4) == []
    longer = "".join(f"value_{n} = compute(first_{n}, second_{n})\n" for n in range(40))
    for span in holes(longer, seed="s", max_holes=4):
        assert len(longer) - (span.end - span.start) >= MIN_VISIBLE_CHARS


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_whole_lines_stand_on_an_empty_line_or_bring_their_line_end(ending: str) -> None:
    text = MODULE.replace("\n", ending)
    found = [span for seed in range(60) for span in holes(text, seed=str(seed))]
    forms: Counter[str] = Counter()
    for span in found:
        if span.kind not in {"lines", "to_blank_line"}:
            continue
        has_line_end = text[: span.end].endswith(ending)
        starts_line = text[span.start - 1] == "\n"
        forms[f"{'start' if starts_line else 'code'} {'closed' if has_line_end else 'open'}"] += 1
        assert has_line_end or text[span.end :].startswith(ending)
        assert starts_line or not text[span.start].isspace()
    assert forms["start closed"] > forms["start open"] > 0
    assert forms["code open"] > forms["start closed"]
    assert set(forms) <= {"start closed", "start open", "code open"}
