"""Pieces of text never split a character and join to the whole."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import ByteTokenizer
from fim.inference.stops import FIRST_LINE, NONE, StopRule, stop_at
from fim.inference.text_stream import CompletionText, TextAssembler

TOKENIZER = ByteTokenizer.smollm2()
CONTROL_IDS = range(17)


class SpaceEatingTokenizer(ByteTokenizer):
    """Drops the first space of a decoded text, as sentence-piece tokenizers do."""

    def decode(self, ids: Sequence[int]) -> str:
        return super().decode(ids).removeprefix(" ")


def _assemble(ids: Sequence[int], *, truncated: bool = False) -> list[str]:
    assembler = TextAssembler(TOKENIZER, CONTROL_IDS)
    return [*(assembler.push(each) for each in ids), assembler.finish(truncated=truncated)]


@given(st.text(max_size=40))
def test_pieces_join_to_the_text(text: str) -> None:
    pieces = _assemble(TOKENIZER.encode(text))
    assert "".join(pieces) == text
    assert all(piece in text for piece in pieces)


@given(st.binary(max_size=20))
def test_pieces_of_any_bytes_join_to_what_decoding_gives(data: bytes) -> None:
    ids = [byte + 17 for byte in data]
    assert "".join(_assemble(ids)) == TOKENIZER.decode(ids)


def test_a_character_comes_whole() -> None:
    assert _assemble(TOKENIZER.encode("a\U0001f600b")) == ["a", "", "", "", "\U0001f600", "b", ""]


def test_text_before_an_unfinished_character_is_not_held_back() -> None:
    class Pairs(ByteTokenizer):
        def decode(self, ids: Sequence[int]) -> str:
            return b"".join([b"ab\xe2", b"\x82", b"\xac!"][each] for each in ids).decode(
                "utf-8", "replace"
            )

    assembler = TextAssembler(Pairs({}), ())
    assert [assembler.push(each) for each in (0, 1, 2)] == ["ab", "", "€!"]


@pytest.mark.parametrize(("truncated", "rest"), [(True, ""), (False, "\N{REPLACEMENT CHARACTER}")])
def test_an_unfinished_character_at_the_end(truncated: bool, rest: str) -> None:
    ids = TOKENIZER.encode("aé")[:-1]
    assert "".join(_assemble(ids, truncated=truncated)) == "a" + rest


def test_control_ids_never_become_text() -> None:
    ids = [0, *TOKENIZER.encode("a"), 3, *TOKENIZER.encode("b"), 16]
    assert "".join(_assemble(ids)) == "ab"


@given(st.text(alphabet=" ab", max_size=12))
def test_text_that_depends_on_the_text_before_it(text: str) -> None:
    tokenizer = SpaceEatingTokenizer.smollm2()
    assembler = TextAssembler(tokenizer, CONTROL_IDS)
    ids = tokenizer.encode(text)
    pieces = [assembler.push(each) for each in ids] + [assembler.finish(truncated=False)]
    assert "".join(pieces) in {tokenizer.decode(ids), text.removeprefix(" ")}


@given(
    text=st.text(alphabet=" \r\nab`é", max_size=20),
    rule=st.sampled_from([NONE, FIRST_LINE, stop_at("``", "ab")]),
)
def test_a_stream_releases_what_the_rule_leaves(text: str, rule: StopRule) -> None:
    stream = CompletionText(TextAssembler(TOKENIZER, CONTROL_IDS), rule=rule)
    released = []
    for token_id in TOKENIZER.encode(text):
        released.append(stream.push(token_id))
        if stream.stopped_by:
            break
    released.append(stream.finish(truncated=False))
    expected = text[: rule.scan(text, final=True).safe_chars]
    assert "".join(released) == stream.text == expected
    assert stream.stopped_by == (None if expected == text else rule.name)


@pytest.mark.parametrize(
    ("text", "truncated", "expected"),
    [("b", False, "b\n"), ("b", True, "b"), ("b\nc", False, "b\n"), ("", False, "")],
)
def test_a_line_of_its_own_is_closed_at_the_end(text: str, truncated: bool, expected: str) -> None:
    assembler = TextAssembler(TOKENIZER, CONTROL_IDS)
    stream = CompletionText(assembler, rule=FIRST_LINE, prefix="a\n", suffix="c\n")
    pieces = [stream.push(each) for each in TOKENIZER.encode(text)]
    pieces.append(stream.finish(truncated=truncated))
    assert "".join(pieces) == stream.text == expected
