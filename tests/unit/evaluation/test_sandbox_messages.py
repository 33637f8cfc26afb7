"""What crosses between candidate and checker: plain data, whatever was sent."""

from __future__ import annotations

import math
import os
import sys
import threading
from collections import Counter, OrderedDict
from typing import Any

import pytest

from fim.evaluation.sandbox import Outcome, describe_outcomes
from fim.evaluation.sandbox.inside.guard import USUAL_MODULES
from fim.evaluation.sandbox.inside.plain import Opaque, decode, encode, receive, send
from fim.evaluation.sandbox.inside.programs import Proxy

PLAIN: tuple[object, ...] = (
    None,
    True,
    0,
    -(2**200),
    1.5,
    float("inf"),
    -0.0,
    2j,
    "ä\udc80\n",
    b"\x00\xff",
    [1, [2]],
    (1, "a"),
    {1, 2},
    frozenset({3}),
    {"a": [1], (1, 2): None},
)


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_data_cross_with_their_type(value: object) -> None:
    found = decode(encode(value))
    assert found == value
    assert type(found) is type(value)


def test_not_a_number_crosses() -> None:
    assert math.isnan(decode(encode(float("nan"))))  # type: ignore[arg-type]


def test_subclasses_become_plain() -> None:
    assert decode(encode(Counter("aab"))) == {"a": 2, "b": 1}
    assert type(decode(encode(OrderedDict(a=1)))) is dict


class Yes(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


def test_what_equals_everything_loses_it_on_the_way() -> None:
    assert Yes(0) == 4
    assert decode(encode(Yes(0))) == 0


def test_anything_else_is_opaque() -> None:
    found = decode(encode(object()))
    assert isinstance(found, Opaque)
    assert found != 1
    with pytest.raises(TypeError, match="not plain data"):
        bool(found)
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    assert "o" in str(encode(deep))


def test_messages_keep_their_length_and_refuse_too_much() -> None:
    read, write = os.pipe()
    send(write, {"a": "x" * 1000})
    assert receive(read) == {"a": "x" * 1000}
    os.write(write, (2**40).to_bytes(8, "big"))
    with pytest.raises(EOFError, match="too large"):
        receive(read)
    os.close(write)
    with pytest.raises(EOFError, match="pipe closed"):
        receive(read)
    os.close(read)


def answering(*replies: dict[str, Any]) -> Proxy:
    ask_read, ask_write = os.pipe()
    answer_read, answer_write = os.pipe()

    def serve() -> None:
        for reply in replies:
            receive(ask_read)
            send(answer_write, reply)

    threading.Thread(target=serve, daemon=True).start()
    return Proxy(ask_write, answer_read)


def test_a_call_returns_the_value_and_what_was_done_to_its_arguments() -> None:
    given: list[int] = [3, 1]
    table = {"a": 1}
    changed = encode(([1, 3], {"b": 2}))
    proxy = answering({"value": encode(7), "args": changed})
    assert proxy(given, table) == 7
    assert given == [1, 3]
    assert table == {"b": 2}


def test_an_error_is_raised_by_its_name_where_python_has_it() -> None:
    proxy = answering(
        {"error": "ValueError", "text": "no"},
        {"error": "Strange", "text": "odd"},
        {"error": "SystemExit", "text": "0"},
    )
    with pytest.raises(ValueError, match="no"):
        proxy()
    with pytest.raises(RuntimeError, match="odd"):
        proxy()
    with pytest.raises(RuntimeError, match="0"):
        proxy()


def test_outcomes_are_counted_by_reason() -> None:
    outcomes = [Outcome(has_passed=True), Outcome(False, "timeout"), Outcome(False, "timeout")]
    assert describe_outcomes(outcomes) == {"timeout": 2, "passed": 1}


def test_what_is_loaded_before_the_fork_is_of_the_standard_library() -> None:
    names = USUAL_MODULES.split()
    assert len(names) == len(set(names))
    assert set(names) <= sys.stdlib_module_names
