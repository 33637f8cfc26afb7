"""Batched generation equals the library's one-by-one generation."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from fim.errors import InferenceError, PromptTooLongError
from fim.inference import GenerationOptions, GenerationWatcher, TokenStream, generate_batch
from fim.inference.decoder import BatchDecoder
from fim.inference.kv_cache import InPlaceLayer, make_cache
from fim.inference.sampling import TokenChooser

VOCABULARY = 120
STOP_IDS = (5, 9, 17)
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}


def _model(name: str, **changes: object) -> PreTrainedModel:
    classes = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM),
        "sliding": (MistralConfig, MistralForCausalLM),
    }
    config, model_class = classes[name]
    extra = {"qwen3": {"head_dim": 8}, "sliding": {"sliding_window": 8}}.get(name, {})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_class(config(**{**SHAPE, **extra, **changes})).eval()
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.data.mul_(8)
    return model


@pytest.fixture(scope="module")
def prompts() -> list[list[int]]:
    chance = random.Random(1)
    return [
        [chance.randrange(VOCABULARY) for _ in range(length)] for length in (3, 1, 17, 40, 9, 40, 2)
    ]


def _by_the_library(model: PreTrainedModel, prompt: Sequence[int], **how: object) -> list[int]:
    output = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        eos_token_id=list(STOP_IDS),
        pad_token_id=0,
        do_sample=False,
        **how,
    )
    ids = output[0, len(prompt) :].tolist()
    return ids[:-1] if ids and ids[-1] in STOP_IDS else ids


@pytest.mark.parametrize("name", ["llama", "qwen3", "sliding"])
def test_greedy_ids_equal_one_by_one_generation(name: str, prompts: list[list[int]]) -> None:
    model = _model(name)
    options = GenerationOptions(max_new_tokens=14)
    done: list[int] = []
    watcher = GenerationWatcher()
    watcher.done = done.append
    found = generate_batch(
        model,
        prompts,
        options=options,
        stop_ids=STOP_IDS,
        pad_id=0,
        batch_size=4,
        watcher=watcher,
    )
    expected = [_by_the_library(model, prompt, max_new_tokens=14) for prompt in prompts]
    assert [list(answer.ids) for answer in found] == expected
    assert {answer.stop_reason for answer in found} == {"end", "length"}
    assert sorted(done) == list(range(len(prompts)))
    for prompt, answer in zip(prompts[:2], found, strict=False):
        stream = TokenStream(model, prompt, options=options, stop_ids=STOP_IDS, pad_id=0)
        assert tuple(stream) == answer.ids
        assert stream.result() == answer


def test_repetition_penalty_is_the_librarys(prompts: list[list[int]]) -> None:
    model = _model("llama")
    options = GenerationOptions(max_new_tokens=8, repetition_penalty=1.7)
    found = generate_batch(model, prompts[:3], options=options, stop_ids=STOP_IDS, pad_id=0)
    expected = [
        _by_the_library(model, prompt, max_new_tokens=8, repetition_penalty=1.7)
        for prompt in prompts[:3]
    ]
    assert [list(answer.ids) for answer in found] == expected


def test_sampling_does_not_depend_on_the_batch(prompts: list[list[int]]) -> None:
    model = _model("llama")
    options = GenerationOptions(max_new_tokens=10, temperature=0.8, top_k=30, top_p=0.9, seed=4)

    def generate(batch_size: int, seed: int = 4) -> list[tuple[int, ...]]:
        from dataclasses import replace

        answers = generate_batch(
            model,
            prompts,
            options=replace(options, seed=seed),
            stop_ids=STOP_IDS,
            pad_id=0,
            batch_size=batch_size,
        )
        return [answer.ids for answer in answers]

    assert generate(7) == generate(2)
    assert generate(7, seed=5) != generate(7)


def test_a_watcher_ends_a_row(prompts: list[list[int]]) -> None:
    model = _model("llama")
    counts = dict.fromkeys(range(len(prompts)), 0)

    class Impatient(GenerationWatcher):
        def token(self, index: int, token_id: int) -> str | None:
            counts[index] += 1
            return "enough" if counts[index] == index + 1 else None

    options = GenerationOptions(max_new_tokens=20)
    found = generate_batch(
        model, prompts, options=options, stop_ids=(), pad_id=0, watcher=Impatient()
    )
    assert [len(answer.ids) for answer in found] == [1, 2, 3, 4, 5, 6, 7]
    assert {answer.stop_reason for answer in found} == {"enough"}


def test_the_window_limits_answers_and_refuses_prompts() -> None:
    model = _model("llama", max_position_embeddings=12)
    options = GenerationOptions(max_new_tokens=50)
    found = generate_batch(
        model, [[1] * 10, [2]], options=options, stop_ids=(), pad_id=0, batch_size=2
    )
    assert [len(answer.ids) for answer in found] == [2, 11]
    with pytest.raises(PromptTooLongError, match="12 tokens and the model's window 12"):
        generate_batch(model, [[1] * 12], options=options, stop_ids=(), pad_id=0)
    with pytest.raises(InferenceError, match="prompt is empty"):
        TokenStream(model, [], options=options, stop_ids=(), pad_id=0)
    assert generate_batch(model, [], options=options, stop_ids=(), pad_id=0) == []


def test_the_cache_writes_in_place_and_keeps_rows() -> None:
    model = _model("llama")
    cache = make_cache(model.config, 6)
    assert all(isinstance(layer, InPlaceLayer) for layer in cache.layers)
    cache.batch_select_indices(torch.tensor([0]))
    keys, values = torch.rand(3, 2, 4, 8), torch.rand(3, 2, 4, 8)
    seen_keys, _ = cache.update(keys, values, 0)
    storage = seen_keys.untyped_storage().data_ptr()
    more, _ = cache.update(keys[:, :, :1], values[:, :, :1], 0)
    assert more.untyped_storage().data_ptr() == storage
    assert torch.equal(more, torch.cat([keys, keys[:, :, :1]], dim=2))
    cache.batch_select_indices(torch.tensor([2, 0]))
    assert torch.equal(cache.layers[0].keys, more[[2, 0]])
    assert cache.get_seq_length(0) == 5


def test_padding_ends_with_the_rows_that_needed_it() -> None:
    model = _model("llama")
    decoder = BatchDecoder(model, pad_id=0, max_new_tokens=3)
    decoder.read([[1, 2, 3], [4]])
    decoder.keep([0])
    alone = BatchDecoder(model, pad_id=0, max_new_tokens=3)
    alone.read([[1, 2, 3]])
    torch.testing.assert_close(decoder.step(torch.tensor([7])), alone.step(torch.tensor([7])))


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        (GenerationOptions(temperature=1.0, top_k=2), {3, 4}),
        (GenerationOptions(temperature=1.0, top_p=0.5), {4}),
        (GenerationOptions(temperature=0.01), {4}),
        (GenerationOptions(temperature=1.0, top_p=0.01), {4}),
        (GenerationOptions(temperature=1.0), {0, 1, 2, 3, 4}),
    ],
)
def test_sampling_stays_within_its_options(options: GenerationOptions, allowed: set[int]) -> None:
    logits = torch.tensor([[0.0, 0.5, 1.0, 1.5, 3.0]]).expand(400, -1)
    chooser = TokenChooser(options, [[0]] * 400, range(400))
    assert set(chooser.choose(logits).tolist()) == allowed


class Scores(GenerationWatcher):
    """Keeps the losses of true answers."""

    def __init__(self, gold: dict[int, list[int]]) -> None:
        super().__init__(gold)
        self.losses: dict[int, list[float]] = {}

    def scored(self, index: int, losses: list[float]) -> None:
        self.losses[index] = losses


def test_true_answers_are_scored_with_the_prompts_and_change_nothing(
    prompts: list[list[int]],
) -> None:
    model = _model("qwen3")
    gold = {0: [1, 2, 3], 3: [4] * 30, 4: [7]}
    options = GenerationOptions(max_new_tokens=10)
    scores = Scores(gold)
    how = {"options": options, "stop_ids": STOP_IDS, "pad_id": 0, "batch_size": 4}
    assert generate_batch(model, prompts, watcher=scores, **how) == generate_batch(
        model, prompts, **how
    )
    assert set(scores.losses) == set(gold)
    for index, answer in gold.items():
        ids = torch.tensor([prompts[index] + answer])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, len(prompts[index]) - 1 : -1]
        expected = torch.nn.functional.cross_entropy(logits, torch.tensor(answer), reduction="none")
        torch.testing.assert_close(
            torch.tensor(scores.losses[index]), expected, rtol=1e-4, atol=1e-4
        )


def test_a_sliding_cache_leaves_scoring_to_others(prompts: list[list[int]]) -> None:
    scores = Scores({0: [1, 2]})
    options = GenerationOptions(max_new_tokens=2)
    generate_batch(
        _model("sliding"), prompts[:1], options=options, stop_ids=(), pad_id=0, watcher=scores
    )
    assert scores.losses == {}
