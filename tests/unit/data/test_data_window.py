from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import ByteTokenizer
from fim.data.window import encode_window

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
