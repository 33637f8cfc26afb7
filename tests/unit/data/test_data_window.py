from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import ByteTokenizer
from fim.data import ExampleEncoder
from fim.data.window import encode_sides, encode_window
from fim.formats import resolve_format
from fim.types import ContextItem, FimExample

BYTES = ByteTokenizer.qwen3()


class CountingTokenizer(ByteTokenizer):
    """Counts the characters that were encoded; sixteen spaces are one token."""

    def __init__(self) -> None:
        super().__init__({}, offset=1)
        self.num_chars = 0

    def encode(self, text: str) -> list[int]:
        self.num_chars += len(text)
        return super().encode(text.replace(" " * 16, "\x00"))


@given(
    text=st.text(alphabet="ab\n", max_size=600),
    num_tokens=st.integers(0, 60),
    side=st.sampled_from(["head", "tail"]),
)
def test_the_wanted_side_is_exact(
    text: str, num_tokens: int, side: Literal["head", "tail"]
) -> None:
    whole = BYTES.encode(text)
    ids = encode_window(BYTES, text, num_tokens=num_tokens, side=side)
    if side == "tail":
        whole, ids = whole[::-1], ids[::-1]
    assert ids[:num_tokens] == whole[:num_tokens]


@pytest.mark.parametrize("side", ["head", "tail"])
def test_a_long_text_is_not_read_whole(side: Literal["head", "tail"]) -> None:
    tokenizer = CountingTokenizer()
    encode_window(tokenizer, "some code\n" * 100_000, num_tokens=100, side=side)
    assert tokenizer.num_chars < 2000


@pytest.mark.parametrize("side", ["head", "tail"])
def test_a_text_of_few_tokens_is_read_further(side: Literal["head", "tail"]) -> None:
    text = " " * 16 * 5000
    ids = encode_window(CountingTokenizer(), text, num_tokens=300, side=side)
    assert len(ids) >= 300


def test_the_window_starts_at_a_line() -> None:
    text = "".join(f"line {number:05d}\n" for number in range(1000))
    ids = encode_window(BYTES, text, num_tokens=20, side="tail")
    assert BYTES.decode(ids).startswith("line ")


def test_a_text_without_lines_is_cut_anywhere() -> None:
    ids = encode_window(BYTES, "x" * 100_000, num_tokens=20, side="head")
    assert len(ids) < 1000


@given(
    before=st.text(alphabet="ab\n", max_size=300),
    middle=st.text(alphabet="ab\n", max_size=12),
    after=st.text(alphabet="ab\n", max_size=300),
    context=st.lists(st.text(alphabet="ab\n", min_size=1, max_size=60), max_size=3),
    max_seq_length=st.integers(32, 200),
    prefix_share=st.sampled_from([0.0, 0.3, 0.65, 0.75, 1.0]),
    anchor_lines=st.sampled_from([0, 2]),
)
def test_rows_of_windows_are_rows_of_whole_texts(
    before: str,
    middle: str,
    after: str,
    context: list[str],
    max_seq_length: int,
    prefix_share: float,
    anchor_lines: int,
) -> None:
    example = FimExample(
        prefix=before,
        middle=middle,
        suffix=after,
        context=tuple(ContextItem(text) for text in context),
    )
    rows = [
        ExampleEncoder(
            resolve_format("psm", BYTES, anchor_lines=anchor_lines),
            BYTES,
            max_seq_length=max_seq_length,
            middle_reserve_tokens=8,
            prefix_share=prefix_share,
            is_cut_exact=is_exact,
        ).try_encode(example)
        for is_exact in (True, False)
    ]
    if isinstance(rows[0], str) or isinstance(rows[1], str):
        assert rows[0] == rows[1]
        return
    assert rows[0].input_ids == rows[1].input_ids
    assert rows[0].labels == rows[1].labels
    assert rows[0].cut.context_items == rows[1].cut.context_items
    assert (rows[0].cut.prefix_tokens > 0) == (rows[1].cut.prefix_tokens > 0)
    assert (rows[0].cut.suffix_tokens > 0) == (rows[1].cut.suffix_tokens > 0)


def test_a_hole_in_a_large_file_reads_little_more_than_a_prompt() -> None:
    tokenizer = CountingTokenizer()
    encode_sides(
        tokenizer,
        ["some code\n" * 10_000],
        ["some code\n" * 10_000],
        num_tokens=1000,
        before_share=0.75,
    )
    assert tokenizer.num_chars < 5 * 1000 + 2 * 5 * 40


def test_a_short_side_leaves_its_room_to_the_other() -> None:
    found = encode_sides(
        BYTES, ["x\n" * 3], ["some code\n" * 10_000], num_tokens=1000, before_share=0.75
    )
    assert len(found[0]) == 6
    assert len(found[1]) >= 994
    found = encode_sides(
        BYTES, ["some code\n" * 10_000], ["x\n" * 3], num_tokens=1000, before_share=0.75
    )
    assert len(found[0]) >= 994
    assert len(found[1]) == 6
