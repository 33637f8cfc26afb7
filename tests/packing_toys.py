"""Documents with holes, tiny random models, and both ways to train on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import MethodType
from typing import TYPE_CHECKING, cast

from fim.types import (
    IGNORED_LABEL,
    Cut,
    EncodedExample,
    EncodedSegment,
    FimExample,
    SegmentKind,
)

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

VOCABULARY_TOKENS = 128
PRE, SUF, MID, END = 1, 2, 3, 4
FIRST_TEXT_ID = 5


def hole_row(
    ids: Sequence[int],
    start: int,
    stop: int,
    *,
    document: str = "",
    anchor: int = 0,
    begin: int = 0,
    loss_on: str = "middle",
    is_suffix_first: bool = False,
) -> EncodedExample:
    """Return a document's row with a hole from ``start`` to ``stop``.

    The text begins at ``begin``; ``anchor`` ids before the cursor stand last in the prompt.
    """
    cut = max(begin, start - anchor)
    head, tail = tuple(ids[begin:cut]), tuple(ids[cut:start])
    middle, suffix = tuple(ids[start:stop]), tuple(ids[stop:])
    before = [(SegmentKind.CONTROL, (PRE,)), (SegmentKind.PREFIX, head)]
    after = [(SegmentKind.CONTROL, (SUF,)), (SegmentKind.SUFFIX, suffix)]
    parts = after + before if is_suffix_first else before + after
    parts += [(SegmentKind.CONTROL, (MID,)), (SegmentKind.ANCHOR, tail)]
    prompt = tuple(each for _, part in parts for each in part)
    answer = (*middle, END)
    row = prompt + answer
    return EncodedExample(
        input_ids=row,
        labels=row if loss_on == "all" else (IGNORED_LABEL,) * len(prompt) + answer,
        prompt_length=len(prompt),
        segments=tuple(EncodedSegment(kind, "", part, trained=False) for kind, part in parts),
        cut=Cut(),
        example=FimExample("", "", "", document_id=document, id=f"{document}:{start}"),
    )


def document_rows(
    num_documents: int = 2,
    num_holes: int = 4,
    *,
    num_tokens: int = 60,
    seed: int = 0,
    loss_on: str = "middle",
    anchor: int = 3,
) -> list[EncodedExample]:
    """Return rows of random documents with random holes."""
    generator = random.Random(seed)
    rows = []
    for number in range(num_documents):
        ids = [generator.randrange(FIRST_TEXT_ID, VOCABULARY_TOKENS) for _ in range(num_tokens)]
        for _ in range(num_holes):
            start = generator.randrange(0, num_tokens)
            stop = min(num_tokens, start + generator.randrange(0, 6))
            rows.append(
                hole_row(ids, start, stop, document=f"d{number}", loss_on=loss_on, anchor=anchor)
            )
    return rows


def tiny_model(family: str, dtype: str = "float64") -> PreTrainedModel:
    """Return a random two-layer model with shared key/value heads."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    shape = {
        "vocab_size": VOCABULARY_TOKENS,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "initializer_range": 0.2,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = (
            LlamaForCausalLM(LlamaConfig(**shape))
            if family == "llama"
            else Qwen3ForCausalLM(Qwen3Config(**shape, head_dim=8))
        )
    for module in made.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = MethodType(_norm, module)
    return cast("PreTrainedModel", made.to(getattr(torch, dtype)))


def _norm(self: torch.nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    """Normalise in the number type of the input; transformers' own rounds to float32."""
    scale = (hidden.square().mean(-1, keepdim=True) + self.variance_epsilon).rsqrt()
    return cast("torch.Tensor", self.weight * (hidden * scale))


def gradients(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Return the gradients and clear them."""
    found = {
        name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None
    }
    model.zero_grad()
    return found
