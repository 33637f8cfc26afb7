from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.formats import build_formats
from fim.formats.psm import file_block, split_at_anchor
from fim.types import ContextItem, FimExample, Segment, SegmentKind

HOLE = FimExample(prefix="a = 1\nb = 2\nc = ", middle="3", suffix="\nd = 4\n", path="x.py")


def kinds(segments: tuple[Segment, ...]) -> list[tuple[str, str]]:
    return [(segment.kind.value, segment.text) for segment in segments]


def test_classic_order_is_prefix_suffix_middle() -> None:
    qwen = build_formats("psm")[0]
    assert kinds(qwen.render(HOLE)) == [
        ("control", "<|fim_prefix|>"),
        ("prefix", "a = 1\nb = 2\nc = "),
        ("control", "<|fim_suffix|>"),
        ("suffix", "\nd = 4\n"),
        ("control", "<|fim_middle|>"),
        ("middle", "3"),
        ("end", "<|endoftext|>"),
    ]


def test_anchored_order_puts_the_tail_last_and_does_not_train_it() -> None:
    qwen = build_formats("psm", anchor_lines=1)[0]
    segments = qwen.render(HOLE)
    assert kinds(segments) == [
        ("control", "<|fim_prefix|>"),
        ("prefix", "a = 1\n"),
        ("control", "<|fim_suffix|>"),
        ("suffix", "\nd = 4\n"),
        ("control", "<|fim_middle|>"),
        ("anchor", "b = 2\nc = "),
        ("middle", "3"),
        ("end", "<|endoftext|>"),
    ]
    assert [segment.kind for segment in segments if segment.trained] == [
        SegmentKind.MIDDLE,
        SegmentKind.END,
    ]


def test_context_stands_in_front_in_files() -> None:
    context = (ContextItem("def f(): ...\n", path="lib.py"), ContextItem("no newline"))
    example = FimExample(prefix="f(", middle=")", suffix="", context=context, path="main.py")
    qwen = build_formats("psm")[0]
    assert kinds(qwen.render(example, with_middle=False))[:7] == [
        ("control", "<|file_sep|>"),
        ("context", "lib.py\ndef f(): ...\n"),
        ("control", "<|file_sep|>"),
        ("context", "unknown\nno newline\n"),
        ("control", "<|file_sep|>"),
        ("scaffold", "main.py\n"),
        ("control", "<|fim_prefix|>"),
    ]


@pytest.mark.parametrize(
    ("prefix", "anchor_lines", "expected"),
    [
        ("a\nb\nc", 0, ("a\nb\nc", "")),
        ("a\nb\nc", 1, ("a\n", "b\nc")),
        ("a\nb\nc", 2, ("", "a\nb\nc")),
        ("a\nb\nc", 9, ("", "a\nb\nc")),
        ("a\nb\n", 1, ("a\n", "b\n")),
        ("a\r\nb\r\nc", 1, ("a\r\n", "b\r\nc")),
        ("", 3, ("", "")),
        ("\n\n\n", 1, ("\n\n", "\n")),
    ],
)
def test_split_at_anchor(prefix: str, anchor_lines: int, expected: tuple[str, str]) -> None:
    assert split_at_anchor(prefix, anchor_lines) == expected


@given(prefix=st.text(alphabet="ab \n\r", max_size=40), anchor_lines=st.integers(1, 6))
def test_the_tail_holds_the_lines_above_the_cursor(prefix: str, anchor_lines: int) -> None:
    head, tail = split_at_anchor(prefix, anchor_lines)
    assert head + tail == prefix
    assert tail.count("\n") == min(prefix.count("\n"), anchor_lines)
    assert not head or head.endswith("\n")


def test_stop_tokens_begin_with_the_end_and_hold_every_sentinel() -> None:
    families = {each.family: each for each in build_formats("psm")}
    qwen, smollm2 = families["qwen"], families["smollm2"]
    assert qwen.stop_tokens[0] == qwen.end_token == "<|endoftext|>"
    ids = {qwen.control_tokens[token] for token in qwen.stop_tokens}
    assert ids == {151643, 151645, *range(151659, 151665)}
    assert smollm2.stop_tokens[0] == smollm2.end_token
    assert smollm2.pad_token != smollm2.end_token


def test_file_block_ends_in_one_newline() -> None:
    assert file_block(ContextItem("x\n", path="p")) == "p\nx\n"
    assert file_block(ContextItem("x", path="p")) == "p\nx\n"
