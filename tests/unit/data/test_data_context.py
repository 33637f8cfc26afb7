from __future__ import annotations

import json

import pytest

from fim.data.context import parse_context
from fim.types import ContextItem

ITEMS = [
    {"content": "low", "file_path": "a.py", "score": 0.1},
    {"content": "high", "file_path": "b.py", "score": 0.9},
]
SORTED = (ContextItem("high", "b.py", 0.9), ContextItem("low", "a.py", 0.1))


@pytest.mark.parametrize(
    "value",
    [
        ITEMS,
        tuple(ITEMS),
        {"content": ["low", "high"], "file_path": ["a.py", "b.py"], "score": [0.1, 0.9]},
        json.dumps(ITEMS),
        json.dumps({"content": ["low", "high"], "path": ["a.py", "b.py"], "score": [0.1, 0.9]}),
        [
            {
                "retrieved_chunk": each["content"],
                "filename": each["file_path"],
                "similarity": each["score"],
            }
            for each in ITEMS
        ],
        [
            {"text": each["content"], "path": each["file_path"], "score": each["score"]}
            for each in ITEMS
        ],
        [
            {"code": each["content"], "path": each["file_path"], "score": each["score"]}
            for each in ITEMS
        ],
    ],
)
def test_every_shape_gives_the_same_items(value: object) -> None:
    parsed = parse_context(value, middle="")
    assert parsed.items == SORTED
    assert (parsed.num_seen, parsed.num_unusable) == (2, 0)


def test_a_rank_is_better_when_low() -> None:
    value = [{"content": "second", "rank": 2}, {"content": "first", "rank": 1}]
    parsed = parse_context(value, middle="")
    assert [each.text for each in parsed.items] == ["first", "second"]
    assert parsed.items[0].score == -1


def test_items_without_a_score_keep_their_order_and_go_last() -> None:
    value = [{"text": "x"}, {"text": "y", "score": "high"}, {"text": "z", "score": -3}, "plain"]
    parsed = parse_context(value, middle="")
    assert [each.text for each in parsed.items] == ["z", "x", "y", "plain"]


@pytest.mark.parametrize(
    "value", [None, [], "", "  ", "[]", "null", {}, {"content": []}, {"content": None}]
)
def test_no_context_is_no_problem(value: object) -> None:
    parsed = parse_context(value, middle="")
    assert (parsed.items, parsed.num_seen, parsed.num_unusable) == ((), 0, 0)


@pytest.mark.parametrize(
    "value",
    [
        [{"body": "x"}],
        [{"content": ""}],
        [{"content": " \n"}],
        [{"content": None}],
        [{"content": 3}],
        [{"content": "\ud800"}],
        [None],
        [3],
        "not json",
        json.dumps("text in text"),
        5,
        b"bytes",
        {"body": "x"},
    ],
)
def test_an_item_without_text_is_counted(value: object) -> None:
    parsed = parse_context(value, middle="")
    assert (parsed.items, parsed.num_seen, parsed.num_unusable) == ((), 1, 1)


def test_a_single_struct_is_an_item() -> None:
    assert parse_context({"content": "x", "rank": 1}, middle="").items == (
        ContextItem("x", None, -1.0),
    )


def test_a_ragged_struct_of_lists_keeps_what_it_has() -> None:
    parsed = parse_context({"content": ["x", "y"], "path": ["a"]}, middle="")
    assert parsed.items == (ContextItem("x", "a"), ContextItem("y"))


@pytest.mark.parametrize("path", ["", 3, "\ud800", None])
def test_an_unusable_path_is_left_out(path: object) -> None:
    assert parse_context([{"text": "x", "path": path}], middle="").items == (ContextItem("x"),)


def test_context_that_holds_the_middle_is_dropped_and_counted() -> None:
    middle = "\n    return compute(total, count)\n"
    value = [{"text": f"before{middle}after"}, {"text": "innocent"}]
    parsed = parse_context(value, middle=middle)
    assert [each.text for each in parsed.items] == ["innocent"]
    assert (parsed.num_holding_middle, parsed.num_unusable) == (1, 0)


def test_a_short_middle_gives_nothing_away() -> None:
    parsed = parse_context([{"text": "return x"}], middle="return x")
    assert parsed.num_holding_middle == 0


@pytest.mark.parametrize("score", [True, float("nan"), float("inf")])
def test_a_score_that_is_no_number_is_unknown(score: object) -> None:
    assert parse_context([{"text": "x", "score": score}], middle="").items[0].score is None
