"""Which models have a fast form on the CPU, and which one it is.

In float32 it is the one that a C compiler builds for this processor (``native``); in other number
types, and without a compiler, it is torch's (``fused``). Both are compared with the library's model
before they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from fim.inference.decoder import model_config
from fim.inference.fused import FusedModel
from fim.inference.native import NativeModel
from fim.inference.rows import Part
from fim.inference.weights import base_of
from fim.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fim.inference.rows import FastModel

KNOWN_CLASSES = frozenset(
    {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}
)
MOST_WEIGHT_BYTES = 4 * 2**30
PROBE_IDS = tuple(range(1, 25))
PROBE_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.02}
_FULL_ATTENTION = "full_attention"
_FIXED_ROPE = frozenset({"default", "linear", "llama3", "yarn"})


def fast_form(model: torch.nn.Module) -> FastModel | None:
    """Return the fast form of a model; None, with the reason logged, where it has none.

    It holds the weights as they are now, and is made anew after they have changed.
    """
    reason = why_not(model)
    if reason is not None:
        get_logger(__name__).info("completions use the library's decoding: %s", reason)
        return None
    for make in _forms(model):
        try:
            with torch.inference_mode():
                fast = make(model)
                reason = _difference(model, fast)
        except RuntimeError as error:
            reason = str(error)
        if reason is None:
            return fast
        get_logger(__name__).info("completions do not use %s: %s", make.__name__, reason)
    return None


def why_not(model: torch.nn.Module) -> str | None:
    """Return why a model has no fast form, or None."""
    base = base_of(model)
    if type(base).__name__ not in KNOWN_CLASSES:
        return f"{type(base).__name__} is not one of {', '.join(sorted(KNOWN_CLASSES))}"
    return next((reason for is_so, reason in _obstacles(base) if is_so), None)


def _forms(model: torch.nn.Module) -> Iterator[type[NativeModel] | type[FusedModel]]:
    """Yield the fast forms that may suit, the faster one first."""
    if next(base_of(model).parameters()).dtype == torch.float32:
        yield NativeModel
    yield FusedModel


def _obstacles(base: torch.nn.Module) -> Iterator[tuple[bool, str]]:
    """Yield everything that could be in the way, and whether it is."""
    config, adapted = model_config(base), [each for each in base.modules() if _is_adapted(each)]
    added = {
        id(weight)
        for each in adapted
        for name, weight in each.named_parameters()
        if not name.startswith("base_layer.")
    }
    weights = [weight for weight in base.parameters() if id(weight) not in added]
    size = sum(weight.nbytes for weight in weights)
    kinds = set(getattr(config, "layer_types", None) or [_FULL_ATTENTION])
    is_sliding = getattr(config, "use_sliding_window", True) and getattr(
        config, "sliding_window", None
    )
    rope = getattr(base.get_submodule("model.rotary_emb"), "rope_type", "default")
    numbers = {str(weight.dtype).removeprefix("torch.") for weight in weights}
    yield {weight.device.type for weight in weights} != {"cpu"}, "the model is not on the CPU"
    yield (
        size > MOST_WEIGHT_BYTES,
        f"its weights take {size / 2**30:.1f} GiB and would be held more than once",
    )
    yield kinds != {_FULL_ATTENTION} or bool(is_sliding), "it attends within a sliding window"
    yield rope not in _FIXED_ROPE, f"its rotations ({rope}) depend on the length"
    yield config.hidden_act != "silu", f"its activation is {config.hidden_act}"
    yield not all(getattr(each, "merged", False) for each in adapted), "its adapter is not merged"
    yield (
        not all(
            _has_weight(base.get_submodule(name)) for name in ("model.embed_tokens", "lm_head")
        ),
        "rows of its vocabulary were trained",
    )
    yield len(numbers) > 1 or not numbers <= set(PROBE_TOLERANCE), f"its numbers are {numbers}"


def _is_adapted(module: torch.nn.Module) -> bool:
    return hasattr(module, "base_layer")


def _has_weight(module: torch.nn.Module) -> bool:
    own = cast("torch.nn.Module", getattr(module, "base_layer", module))
    return any(name == "weight" for name, _ in own.named_parameters(recurse=False))


def _difference(model: torch.nn.Module, fast: FastModel) -> str | None:
    """Compare both on a few ids."""
    embeddings = base_of(model).get_submodule("model.embed_tokens").get_parameter("weight")
    ids = [each % len(embeddings) for each in PROBE_IDS]
    expected = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    found = fast.rows(1, len(ids)).read([Part(0, ids, len(ids))]).float()
    error = (found - expected).abs().mean() / expected.std()
    if error <= PROBE_TOLERANCE[str(embeddings.dtype).removeprefix("torch.")]:
        return None
    return f"its logits differ by {error:.2g} of their spread"
