from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from fakes import ByteTokenizer
from fim.data import ExampleEncoder, TokenizerView
from fim.formats import resolve_format
from fim.training import CHATML_PATTERNS, HARMONY_PATTERNS, MaskingStrategy
from fim.types import ContextItem, FimExample

HARMONY = ByteTokenizer(
    {
        token: 300 + at
        for at, token in enumerate(
            ("<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>")
        )
    }
)
NASTY_MIDDLES = (
    "",
    "return x",
    "\n    return x\n",
    "\n\n\n",
    "  \t",
    "a\r\nb",
    "</think>",
    "<think>\n\n</think>\n\n",
    "<|im_end|>",
    "<|im_start|>assistant\n",
    "```",
    "🙂 é e\u0301",
)


def spell(tokenizer: ByteTokenizer, *pieces: str) -> list[int]:
    ids: list[int] = []
    for piece in pieces:
        control = tokenizer.control_token_id(piece)
        ids += [control] if control is not None else tokenizer.encode(piece)
    return ids


def trained(tokenizer: ByteTokenizer, labels: Sequence[int]) -> str:
    return tokenizer.decode([label for label in labels if label != -100])


def encoder(tokenizer: TokenizerView | ByteTokenizer) -> ExampleEncoder:
    return ExampleEncoder(resolve_format("chatml", tokenizer), tokenizer, max_seq_length=2048)


@pytest.mark.parametrize("middle", NASTY_MIDDLES)
def test_it_agrees_with_the_renderer_on_the_real_qwen3(
    qwen3_view: TokenizerView, middle: str
) -> None:
    strategy = MaskingStrategy.detect(qwen3_view)
    example = FimExample(
        prefix="def f(x):<|im_start|>assistant\nno",
        middle=middle,
        suffix="\n<|im_end|>\n",
        context=(ContextItem("<|im_start|>assistant\nx = 1\n", path="a.py"),),
        language="Python",
    )
    row = encoder(qwen3_view).encode(example)
    assert strategy.name == "chatml"
    assert strategy.agrees(row)


@pytest.mark.parametrize("tokenizer", [ByteTokenizer.qwen3(), ByteTokenizer.smollm2()])
@pytest.mark.parametrize("middle", NASTY_MIDDLES)
def test_it_agrees_with_and_without_a_think_block(tokenizer: ByteTokenizer, middle: str) -> None:
    row = encoder(tokenizer).encode(FimExample(prefix="a = ", middle=middle, suffix="\n"))
    assert MaskingStrategy.detect(tokenizer).agrees(row)


def test_it_does_not_agree_with_a_shifted_mask() -> None:
    tokenizer = ByteTokenizer.qwen3()
    row = encoder(tokenizer).encode(FimExample(prefix="a", middle="bc", suffix="d"))
    shifted = (*row.labels[1:], -100)
    other = type(row)(row.input_ids, shifted, row.prompt_length, row.segments, row.cut, row.example)
    assert not MaskingStrategy.detect(tokenizer).agrees(other)


def test_every_answer_of_a_conversation_is_trained() -> None:
    tokenizer = ByteTokenizer.qwen3()
    turn, end = "<|im_start|>", "<|im_end|>"
    ids = spell(
        tokenizer,
        *(turn, "user\none", end, "\n", turn, "assistant\n", "first", end, "\n"),
        *(turn, "user\ntwo", end, "\n", turn, "assistant\n"),
        *("<think>", "\n\n", "</think>", "\n\n", "second", end, "\n"),
    )
    labels = MaskingStrategy.detect(tokenizer).apply(ids)
    assert trained(tokenizer, labels) == "first<|im_end|>second<|im_end|>"


def test_an_answer_without_an_end_stops_at_the_next_turn() -> None:
    tokenizer = ByteTokenizer.qwen3()
    turn = "<|im_start|>"
    ids = spell(
        tokenizer,
        *(turn, "assistant\n", "a", turn, "user\nb", turn, "assistant\n", "c"),
        *(turn, "assistant\n", "d"),
    )
    labels = MaskingStrategy.detect(tokenizer).apply(ids)
    assert trained(tokenizer, labels) == "acd"


def test_harmony_trains_the_final_channel() -> None:
    ids = spell(
        HARMONY,
        *("<|start|>", "user", "<|message|>", "q", "<|end|>"),
        *("<|start|>", "assistant", "<|channel|>", "analysis", "<|message|>", "hm", "<|end|>"),
        *("<|start|>", "assistant", "<|channel|>", "final", "<|message|>", "yes", "<|return|>"),
    )
    strategy = MaskingStrategy.detect(HARMONY)
    assert strategy.name == "harmony"
    assert trained(HARMONY, strategy.apply(ids)) == "yes<|return|>"


def test_a_tokenizer_of_no_known_layout_trains_everything_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tokenizer = ByteTokenizer({"<s>": 256})
    with caplog.at_level(logging.WARNING):
        strategy = MaskingStrategy.detect(tokenizer)
    assert strategy.name == "all"
    assert strategy.apply([1, 2, 3]) == (1, 2, 3)
    assert "every token is trained" in caplog.text
    assert "chatml, harmony" in caplog.text


def test_a_layout_is_refused_when_a_marker_has_no_token() -> None:
    assert MaskingStrategy.of(HARMONY_PATTERNS, ByteTokenizer.qwen3()) is None
    assert MaskingStrategy.of(CHATML_PATTERNS, HARMONY) is None
    no_end = ByteTokenizer({"<|im_start|>": 300})
    assert MaskingStrategy.of(CHATML_PATTERNS, no_end) is None


def test_nothing_is_trained_where_nobody_answers() -> None:
    tokenizer = ByteTokenizer.qwen3()
    labels = MaskingStrategy.detect(tokenizer).apply(tokenizer.encode("assistant\n"))
    assert set(labels) == {-100}
    assert MaskingStrategy.detect(tokenizer).apply([]) == ()
