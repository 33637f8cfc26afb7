"""The fast forms of a model and their drafts say what the library's model says."""

from __future__ import annotations

import logging
import random
import weakref
from typing import NoReturn

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from fim.inference import GenerationOptions, GenerationWatcher, TokenStream, generate_batch
from fim.inference.drafting import PromptLookup
from fim.inference.fast import fast_form, why_not
from fim.inference.fused import FusedModel
from fim.inference.native import NativeModel, NativeRows
from fim.inference.rows import Part

VOCABULARY = 90
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
ENGINES = {"native": NativeModel, "torch": FusedModel}
KINDS = {
    "llama": (LlamaConfig, LlamaForCausalLM, {}),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, {}),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, {"head_dim": 64, "tie_word_embeddings": True}),
    "mistral": (MistralConfig, MistralForCausalLM, {"sliding_window": None}),
}


@pytest.fixture(params=list(ENGINES))
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> type:
    """The class of fast models: the one that is taken first, and the other without a compiler."""
    if request.param == "torch":
        monkeypatch.setattr("fim.inference.native.model.native_library", _no_library)
    return ENGINES[request.param]


def _no_library() -> NoReturn:
    raise RuntimeError("there is no C compiler")


def _model(kind: str, **changes: object) -> PreTrainedModel:
    config, model_class, extra = KINDS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = model_class(config(**{**SHAPE, **extra, **changes})).eval()
        for name, weight in model.named_parameters():
            weight.data.mul_(6) if weight.ndim > 1 else weight.data.add_(
                torch.rand_like(weight) * ("bias" in name or "norm" in name)
            )
    return model


def _prompt(seed: int, length: int) -> list[int]:
    chance = random.Random(seed)
    phrase = [chance.randrange(VOCABULARY) for _ in range(5)]
    return [*(chance.randrange(VOCABULARY) for _ in range(length)), *phrase, 3, *phrase]


@pytest.mark.parametrize("kind", list(KINDS))
def test_greedy_ids_are_those_of_generate(kind: str, engine: type) -> None:
    model = _model(kind)
    fast = fast_form(model)
    assert isinstance(fast, engine)
    for seed, length in ((0, 0), (1, 3), (2, 40)):
        prompt = _prompt(seed, length)
        ids = torch.tensor([prompt])
        expected = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=40,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=[7],
        )[0, len(prompt) :].tolist()
        options = GenerationOptions(max_new_tokens=40)
        arguments = {"options": options, "stop_ids": (7,), "pad_id": 0}
        stream = TokenStream(model, prompt, fast=fast, draft=expected[:3], **arguments)
        found = [*stream, *([7] if stream.result().stop_reason == "end" else [])]
        assert found == expected
        assert stream.result() == _all(TokenStream(model, prompt, fast=fast, **arguments))
        assert stream.result() == _all(TokenStream(model, prompt, **arguments))


def _all(stream: TokenStream) -> object:
    list(stream)
    return stream.result()


def test_sampling_is_the_same_with_drafts(engine: type) -> None:
    model = _model("llama")
    fast = fast_form(model)
    assert isinstance(fast, engine)
    options = GenerationOptions(
        max_new_tokens=30, temperature=0.7, top_k=20, top_p=0.9, repetition_penalty=1.2
    )
    found = [
        _all(TokenStream(model, _prompt(4, 9), options=options, stop_ids=(), pad_id=0, fast=each))
        for each in (fast, None)
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("kind", list(KINDS))
def test_reading_in_parts_and_again_gives_the_same_logits(kind: str, engine: type) -> None:
    model = _model(kind)
    fast = fast_form(model)
    assert isinstance(fast, engine)
    ids = _prompt(5, 20)
    expected = model(torch.tensor([ids])).logits[0]
    sequence = fast.rows(1, len(ids) + 4)
    sequence.read([Part(0, [*ids[:6], 1, 2, 3])])
    sequence.lengths[0] = 6
    rows = [sequence.read([Part(0, ids[6:9], 3)]), sequence.step(torch.tensor(ids[9:10]))]
    rows.append(sequence.read([Part(0, ids[10:], len(ids) - 10)]))
    torch.testing.assert_close(torch.cat(rows), expected[6:], rtol=1e-4, atol=1e-4)


class Scores(GenerationWatcher):
    """Keeps losses of true answers, and ends every third answer after four ids."""

    def __init__(self, gold: dict[int, list[int]]) -> None:
        super().__init__(gold)
        self.losses: dict[int, list[float]] = {}
        self.counts = dict.fromkeys(range(99), 0)
        self.finished: list[int] = []

    def token(self, index: int, token_id: int) -> str | None:
        self.counts[index] += 1
        return "enough" if index % 3 == 0 and self.counts[index] == 4 else None

    def scored(self, index: int, losses: list[float]) -> None:
        self.losses[index] = losses

    def done(self, index: int) -> None:
        self.finished.append(index)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize(
    "options",
    [
        GenerationOptions(max_new_tokens=12),
        GenerationOptions(
            max_new_tokens=9, temperature=0.8, top_k=30, top_p=0.9, repetition_penalty=1.3
        ),
    ],
    ids=["greedy", "sampled"],
)
def test_rows_that_join_and_leave_are_those_of_the_library(
    kind: str, options: GenerationOptions, engine: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fim.inference.rows.READ_TOKENS", 40)
    model = _model(kind)
    fast = fast_form(model)
    assert isinstance(fast, engine)
    prompts = [_prompt(seed, length) for seed, length in enumerate((4, 30, 0, 9, 30, 1, 17, 2, 5))]
    gold = {0: [1, 2, 3], 4: [4] * 14, 7: [8]}
    how = {"options": options, "stop_ids": (7, 11), "pad_id": 0}
    expected = Scores(gold)
    answers = generate_batch(model, prompts, watcher=expected, **how)
    for batch_size in (1, 3, 16):
        found = Scores(gold)
        assert answers == generate_batch(
            model, prompts, watcher=found, fast=fast, batch_size=batch_size, **how
        )
        assert sorted(found.finished) == list(range(len(prompts)))
        assert found.losses.keys() == gold.keys()
        for index, losses in found.losses.items():
            assert losses == pytest.approx(expected.losses[index], rel=1e-4, abs=1e-4)


def test_bfloat16_losses_stay_near_those_of_the_library() -> None:
    model = _model("llama").to(torch.bfloat16)
    fast = fast_form(model)
    assert fast is not None
    gold = {0: [1, 2, 3], 1: [4] * 14, 2: [8]}
    prompts = [_prompt(seed, length) for seed, length in enumerate((4, 30, 0))]
    losses = []
    for each in (None, fast):
        watcher = Scores(gold)
        options = GenerationOptions(max_new_tokens=1)
        generate_batch(
            model, prompts, options=options, stop_ids=(), pad_id=0, watcher=watcher, fast=each
        )
        losses.append(torch.cat([torch.tensor(watcher.losses[index]) for index in gold]))
    torch.testing.assert_close(*losses, rtol=0.03, atol=0.1)


def test_a_fast_form_is_freed_with_its_owner(engine: type) -> None:
    model = _model("llama")
    fast = fast_form(model)
    assert isinstance(fast, engine)
    generate_batch(
        model,
        [[1, 2], [3]],
        options=GenerationOptions(max_new_tokens=3),
        stop_ids=(),
        pad_id=0,
        fast=fast,
    )
    seen = weakref.ref(fast)
    del fast
    assert seen() is None


def test_drafts_save_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model("llama")
    fast = fast_form(model)
    assert fast is not None
    sizes: list[int] = []
    read = NativeRows.read

    def counted(self: NativeRows, parts: list[Part]) -> torch.Tensor:
        sizes.append(len(parts[0].ids))
        return read(self, parts)

    monkeypatch.setattr(NativeRows, "read", counted)
    options = GenerationOptions(max_new_tokens=60)
    stream = TokenStream(model, _prompt(0, 4), options=options, stop_ids=(), pad_id=0, fast=fast)
    assert len(list(stream)) == 60
    assert len(sizes) < 60
    assert max(sizes[1:]) <= max(fast.drafted_tokens.values()) + 1


@given(st.lists(st.integers(0, 3), max_size=30), st.lists(st.integers(0, 3), max_size=30))
def test_a_draft_followed_the_same_ids_before(first: list[int], second: list[int]) -> None:
    lengths = {3: 7, 2: 3, 1: 2}
    lookup = PromptLookup(lengths)
    lookup.extend(first)
    lookup.draft(4)
    lookup.extend(second)
    draft, ids = lookup.draft(4), first + second
    assert len(draft) <= 4
    for size, drafted in lengths.items():
        places = [end for end in range(size, len(ids)) if ids[end - size : end] == ids[-size:]]
        if places:
            assert draft == ids[places[-1] : places[-1] + min(4, drafted)]
            return
    assert draft == []


@pytest.mark.parametrize(
    ("kind", "changes", "reason"),
    [
        ("mistral", {"sliding_window": 8}, "sliding window"),
        ("llama", {"hidden_act": "gelu"}, "activation is gelu"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "rotations (dynamic)",
        ),
    ],
)
def test_what_has_no_fast_form_is_told(
    kind: str, changes: dict[str, object], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="fim"):
        assert fast_form(_model(kind, **changes)) is None
    assert "completions use the library's decoding" in caplog.text
    assert reason in caplog.text


def test_other_models_are_left_to_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    other = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9))
    assert "GPT2LMHeadModel is not one of" in str(why_not(other))
    model = _model("llama")
    assert why_not(model) is None
    assert why_not(model.to(torch.float64)) == "its numbers are {'float64'}"
    model.to(torch.float32)
    monkeypatch.setattr("fim.inference.fast.MOST_WEIGHT_BYTES", 1)
    assert "held more than once" in str(why_not(model))


def test_a_model_that_computes_something_else_is_found_out() -> None:
    model = _model("llama")
    model.model.layers[1].mlp.act_fn = torch.nn.ReLU()
    assert fast_form(model) is None
    model = _model("llama")
    model.lm_head.register_forward_hook(lambda _m, _i, output: output * 0.5)
    assert fast_form(model) is None


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_an_adapter_counts_once_it_is_merged() -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    model = get_peft_model(_model("llama"), config).eval()
    assert why_not(model) == "its adapter is not merged"
    model.merge_adapter()
    fast = fast_form(model)
    assert fast is not None
    options = GenerationOptions(max_new_tokens=12)
    found = [
        _all(TokenStream(model, _prompt(1, 2), options=options, stop_ids=(), pad_id=0, fast=each))
        for each in (fast, None)
    ]
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
def test_a_merged_adapter_may_have_other_numbers_than_its_base() -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    model = get_peft_model(_model("llama").to(torch.bfloat16), config).eval()
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16, torch.float32}
    model.merge_adapter()
    assert fast_form(model) is not None


def test_without_a_compiler_the_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fim.inference.native.model.native_library", _no_library)
    with caplog.at_level(logging.INFO, logger="fim"):
        assert isinstance(fast_form(_model("llama")), FusedModel)
    assert "completions do not use NativeModel: there is no C compiler" in caplog.text
