"""Healed completions with real tokenizers: one by one, streamed and batched."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from hypothesis import example as always_tried
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Cache, LlamaConfig, LlamaForCausalLM

from fim.config import InferSettings
from fim.data import ExampleEncoder, TokenizerView
from fim.formats import resolve_format
from fim.inference import FIRST_TEXT_LINE, CodeCompleter
from fim.inference.healing import TokenHealer
from fim.types import FimExample
from scripted_model import note_positions

CODE = (
    'def mean(values):\n    """Durchschnitt größer als 0 \U0001f600."""\n    total = 0.0\n'
    "    for value in values:\n        total += value\n\n    return total / len(values)\r\n\n\n"
    "class Reader_v2(Base):\n\tname: str = '日本語'\n\n\tdef __init__(self) -> None:\n"
    "\t\tself._items = [[1, 22, 333], {}]  # <|endoftext|>\n"
)
CUTS = st.integers(0, len(CODE))
HEALED_FORMATS = (("left-to-right", 0), ("psm", 4), ("psm", 1), ("spm2", 0), ("codestral", 0))
OTHER_FORMATS = (("psm", 0), ("chatml", 0), ("spm", 0))


def _encoder(view: TokenizerView, name: str, anchor_lines: int) -> ExampleEncoder:
    resolved = resolve_format(name, view, anchor_lines=anchor_lines)
    return ExampleEncoder(resolved, view, max_seq_length=200, middle_reserve_tokens=30)


def _completer(model: torch.nn.Module, encoder: ExampleEncoder, **changes: object) -> CodeCompleter:
    infer = InferSettings(**{"max_new_tokens": 6, "token_healing": True, **changes})
    view = encoder.tokenizer
    assert isinstance(view, TokenizerView)
    return CodeCompleter(model=model, encoder=encoder, settings=infer, control_ids=view.control_ids)


def _supported(view: TokenizerView, formats: tuple[tuple[str, int], ...]) -> list[ExampleEncoder]:
    from fim.errors import FormatUnsupportedError

    found = []
    for name, anchor_lines in formats:
        try:
            found.append(_encoder(view, name, anchor_lines))
        except FormatUnsupportedError:
            continue
    return found


class ByHeart(torch.nn.Module):
    """Knows one sequence of ids by position."""

    def __init__(self, ids: list[int], vocabulary: int) -> None:
        super().__init__()
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.config = LlamaConfig(num_hidden_layers=1, max_position_embeddings=4096)
        self.ids, self.vocabulary = ids, vocabulary

    def forward(
        self,
        input_ids: torch.Tensor,
        position_ids: torch.Tensor,
        past_key_values: Cache | None = None,
        **_: object,
    ) -> SimpleNamespace:
        note_positions(past_key_values, input_ids)
        logits = torch.zeros(len(position_ids), 1, self.vocabulary)
        for row, place in enumerate(position_ids[:, -1].tolist()):
            logits[row, 0, self.ids[min(place + 1, len(self.ids) - 1)]] = 9.0
        return SimpleNamespace(logits=logits)


@pytest.fixture(scope="module")
def smollm2_toy(smollm2_view: TokenizerView) -> LlamaForCausalLM:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=49152,
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
            )
        ).eval()
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.data.mul_(8)
    return model


@pytest.fixture(scope="module", params=["qwen3_view", "smollm2_view"])
def view(request: pytest.FixtureRequest) -> TokenizerView:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def healer(view: TokenizerView) -> TokenHealer:
    return TokenHealer(view)


@settings(max_examples=40, deadline=None)
@given(cut=CUTS)
def test_a_healed_prompt_loses_whole_tokens_of_the_prefix(
    view: TokenizerView, healer: TokenHealer, cut: int
) -> None:
    example = FimExample(CODE[:cut], "", CODE[cut + 3 :])
    for encoder in _supported(view, HEALED_FORMATS):
        prompt = encoder.prompt(example)
        healed = healer.heal(prompt)
        assert healed.ids + healed.removed == prompt.ids
        assert view.decode(healed.removed) == healed.text
        assert example.prefix.endswith(healed.text)
        assert not view.control_ids.intersection(healed.removed)
        assert healed.ids
        assert bool(healed.removed) == (len(prompt.ids) > 1 and cut > 0)
    for encoder in _supported(view, OTHER_FORMATS):
        assert healer.heal(encoder.prompt(example)).removed == ()


@settings(max_examples=8, deadline=None)
@always_tried(cuts=[0, 0, 1], anchored=False)
@given(cuts=st.lists(CUTS, min_size=3, max_size=3), anchored=st.booleans())
def test_one_by_one_streamed_and_batched_are_the_same(
    smollm2_view: TokenizerView,
    smollm2_toy: LlamaForCausalLM,
    cuts: list[int],
    anchored: bool,
) -> None:
    encoder = _encoder(smollm2_view, *HEALED_FORMATS[anchored])
    completer = _completer(smollm2_toy, encoder)
    examples = [FimExample(CODE[:cut], "x", CODE[cut + 5 :]) for cut in cuts]
    batch, scores = completer.complete_and_score(examples, stop=FIRST_TEXT_LINE)
    for example, found in zip(examples, batch, strict=True):
        stream = completer.stream(example.prefix, example.suffix, stop=FIRST_TEXT_LINE)
        assert "".join(stream) == found.text == stream.result().text
        assert stream.result().token_ids == found.token_ids
        assert stream.result().stop_reason == found.stop_reason
        assert found.prompt_ids == encoder.prompt(example).ids
        assert len(found.token_ids) <= 6
        assert found.text in smollm2_view.decode(found.token_ids)
    for found, expected in zip(scores, completer.score_gold(examples), strict=True):
        assert found is not None
        assert expected is not None
        assert found.num_middle_tokens == expected.num_middle_tokens
        assert found.nll_sum_middle == pytest.approx(expected.nll_sum_middle, rel=1e-4)


@pytest.fixture(scope="module")
def healed_and_not(smollm2_view: TokenizerView) -> list[CodeCompleter]:
    encoder = _encoder(smollm2_view, "psm", 4)
    return [_completer(ByHeart([0], 49152), encoder, token_healing=each) for each in (True, False)]


@settings(max_examples=30, deadline=None)
@given(cut=CUTS, size=st.integers(1, 30))
def test_spelling_the_removed_tokens_again_changes_nothing(
    healed_and_not: list[CodeCompleter], cut: int, size: int
) -> None:
    example = FimExample(CODE[:cut], CODE[cut : cut + size], CODE[cut + size :])
    found = []
    for completer in healed_and_not:
        completer.model.ids = list(completer.encoder.encode(example).input_ids)
        found += [
            completer.complete(example.prefix, example.suffix, max_new_tokens=limit)
            for limit in (40, 3)
        ]
    for healed, plain in zip(found[:2], found[2:], strict=True):
        assert healed.text == plain.text
        assert healed.token_ids == plain.token_ids
        assert healed.stop_reason == plain.stop_reason
    assert found[0].text == example.middle


def test_a_token_across_the_cursor_completes_the_word(smollm2_view: TokenizerView) -> None:
    encoder = _encoder(smollm2_view, "left-to-right", 0)
    prefix, whole = "def f(x):\n    retu", "def f(x):\n    return x\n"
    ids = [*smollm2_view.encode(whole), encoder.resolved.end_id]
    completer = _completer(ByHeart(ids, 49152), encoder)
    answer = completer.complete(prefix, "")
    assert (answer.text, answer.stop_reason) == ("rn x\n", "end")
    assert len(answer.token_ids) == 3
    line_start = completer.complete("def f(x):\n", "")
    assert line_start.text == "    return x\n"
    assert list(completer.stream(prefix, "")) == ["rn", " x", "\n"]
