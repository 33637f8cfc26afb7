"""Gold likelihood through the gathered output layer equals that of full logits."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    CohereConfig,
    CohereForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
)

from fim.inference import GoldScore, score_batch
from fim.inference.fast import fast_form
from fim.types import (
    Cut,
    EncodedExample,
    EncodedSegment,
    FimExample,
    SegmentKind,
)

SHAPE = {
    "vocab_size": 90,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


def _row(prompt: list[int], middle: list[int], end: list[int]) -> EncodedExample:
    segments = (
        EncodedSegment(SegmentKind.PREFIX, "", tuple(prompt), False),
        EncodedSegment(SegmentKind.MIDDLE, "", tuple(middle), True),
        *((EncodedSegment(SegmentKind.END, "", tuple(end), True),) if end else ()),
    )
    ids = (*prompt, *middle, *end)
    return EncodedExample(ids, ids, len(prompt), segments, Cut(), FimExample("", "", ""))


ROWS = [
    _row([3, 4, 5], [6, 7], [1]),
    _row([8] * 20, [9, 10, 11, 12], [1]),
    _row([13], [], [1]),
    _row([14, 15], [16], []),
    _row([17], [], []),
]


def _by_full_logits(model: PreTrainedModel, row: EncodedExample) -> GoldScore:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([row.input_ids])).logits[0].float()
    losses = torch.nn.functional.cross_entropy(
        logits[:-1], torch.tensor(row.input_ids[1:], dtype=torch.long), reduction="none"
    )[row.prompt_length - 1 :].tolist()
    has_end = row.segments[-1].kind is SegmentKind.END
    middle = losses[:-1] if has_end else losses
    return GoldScore(sum(middle), len(middle), losses[-1] if has_end else None)


@pytest.fixture(scope="module", params=["llama", "scaled logits"])
def model(request: pytest.FixtureRequest) -> PreTrainedModel:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if request.param == "llama":
            return LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
        return CohereForCausalLM(CohereConfig(**SHAPE, logit_scale=0.3, eos_token_id=1)).eval()


@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_scores_equal_those_of_full_logits(model: PreTrainedModel, batch_size: int) -> None:
    found = score_batch(model, ROWS, batch_size=batch_size)
    for score, row in zip(found, ROWS, strict=True):
        expected = _by_full_logits(model, row)
        assert score.num_middle_tokens == expected.num_middle_tokens
        assert score.nll_sum_middle == pytest.approx(expected.nll_sum_middle, rel=1e-5, abs=1e-6)
        assert (score.nll_end is None) == (expected.nll_end is None)
        assert (score.nll_end or 0.0) == pytest.approx(expected.nll_end or 0.0, rel=1e-5)


def test_scores_on_a_fused_model_are_the_same() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**SHAPE)).eval()
    expected = score_batch(model, ROWS, batch_size=8)
    for found, score in zip(
        score_batch(model, ROWS, batch_size=2, fast=fast_form(model)), expected, strict=True
    ):
        assert found.num_middle_tokens == score.num_middle_tokens
        assert found.nll_sum_middle == pytest.approx(score.nll_sum_middle, rel=1e-5, abs=1e-6)
        assert (found.nll_end or 0.0) == pytest.approx(score.nll_end or 0.0, rel=1e-5)


def test_the_output_layer_sees_only_the_scored_places(model: PreTrainedModel) -> None:
    seen: list[tuple[int, ...]] = []
    head = model.get_output_embeddings()
    handle = head.register_forward_hook(lambda _m, _i, output: seen.append(tuple(output.shape)))
    score_batch(model, ROWS, batch_size=8)
    handle.remove()
    assert seen == [(10, 90)]
    assert not head._forward_pre_hooks


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
def test_an_adapter_is_scored_too(model: PreTrainedModel) -> None:
    from peft import LoraConfig, get_peft_model

    before = score_batch(model, ROWS[:1], batch_size=1)
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.ones_(weight)
    after = score_batch(adapted, ROWS[:1], batch_size=1)
    adapted.unload()
    assert after != before


def test_progress_counts_rows(model: PreTrainedModel) -> None:
    class Counter:
        def __init__(self) -> None:
            self.done: list[int] = []

        def start(self, stage: str, total: int | None) -> None: ...
        def advance(self, done: int, **facts: float | str) -> None:
            self.done.append(done)

        def finish(self, summary: str = "") -> None: ...

    counter = Counter()
    score_batch(model, ROWS, batch_size=2, progress=counter)
    assert counter.done == [2, 4, 5]
