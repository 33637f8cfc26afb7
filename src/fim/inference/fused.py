"""A model's forward pass on the CPU, in few and large operations.

Reading the weights is what a token costs on a CPU. The library's modules reach about a fifth of
that limit: every layer multiplies by seven matrices in the layout that they are stored in. Here the
matrices with one input are joined and laid out once as the processor wants them, and keys and
values are written in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from fim.inference.decoder import model_config
from fim.inference.fused_rows import FusedRows, Part
from fim.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Product = Callable[[torch.Tensor], torch.Tensor]
    Attend = Callable[[tuple[torch.Tensor, torch.Tensor], torch.Tensor, torch.Tensor], torch.Tensor]

KNOWN_CLASSES = frozenset(
    {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}
)
MOST_WEIGHT_BYTES = 4 * 2**30
PROBE_IDS = tuple(range(1, 25))
PROBE_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.02}
LAID_OUT_FOR_ROWS = 48
_LAY_OUT, _MULTIPLY = "_reorder_linear_weight", "_linear_pointwise"
_FULL_ATTENTION = "full_attention"
_FIXED_ROPE = frozenset({"default", "linear", "llama3", "yarn"})


@dataclass(frozen=True, slots=True)
class _Layer:
    norm_in: torch.Tensor
    qkv: Product
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    out: Product
    norm_mlp: torch.Tensor
    gate_up: Product
    down: Product


class FusedModel:
    """The weights of a Llama-like model, joined and laid out for the processor.

    Args:
        model: A causal language model of transformers of which ``why_not`` has nothing to say.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        base = _base_of(model)
        config = model_config(base)
        self._heads = config.num_attention_heads
        self._groups = config.num_key_value_heads
        self._head_dim = getattr(config, "head_dim", None) or config.hidden_size // self._heads
        self._eps = config.rms_norm_eps
        self._rotary = base.get_submodule("model.rotary_emb")
        self.embeddings = _weight(base, "model.embed_tokens")
        self._norm = _weight(base, "model.norm")
        self._head = _product(base, "lm_head")
        self.dtype = self.embeddings.dtype
        self.layers = tuple(map(_layer, base.get_submodule("model.layers").children()))

    def rotations(self, capacity: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and signed sines ``[T, 1, D]`` of all positions."""
        positions = torch.arange(capacity)[None]
        cos, sin = self._rotary(self.embeddings[:1, None], positions)
        half = self._head_dim // 2
        signed = torch.cat([-sin[0, :, :half], sin[0, :, half:]], -1)
        return cos[0, :, None], signed[:, None]

    def new_cache(self, rows: int, capacity: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return room for keys and values ``[B, G, T, D]`` of every layer, all of it zeros."""
        shape = (rows, self._groups, capacity, self._head_dim)
        return [
            (torch.zeros(shape, dtype=self.dtype), torch.zeros(shape, dtype=self.dtype))
            for _ in self.layers
        ]

    def forward(
        self,
        ids: torch.Tensor,
        rotations: tuple[torch.Tensor, torch.Tensor],
        cache: Sequence[tuple[torch.Tensor, torch.Tensor]],
        attend: Attend,
        wanted: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return logits ``[N, V]`` after some ids of one or more sequences.

        Args:
            ids: The ids ``[T]`` of all sequences, one after the other.
            rotations: Cosines and signed sines ``[T, 1, D]`` of their positions.
            cache: Keys and values of every layer.
            attend: Keeps keys and values, and returns what queries ``[T, H, D]`` find.
            wanted: After which of the ids logits are wanted; after all of them by default.
        """
        hidden = self.embeddings[ids]
        for layer, kept in zip(self.layers, cache, strict=True):
            attended = attend(kept, *self._queries_keys_values(layer, hidden, *rotations))
            if wanted is not None and layer is self.layers[-1]:
                hidden, attended = hidden[wanted], attended[wanted]
            hidden += layer.out(attended.flatten(1))
            gate, up = layer.gate_up(_rms(hidden, layer.norm_mlp, self._eps)).chunk(2, -1)
            hidden += layer.down(torch.nn.functional.silu(gate).mul_(up))
        return self._head(_rms(hidden, self._norm, self._eps))

    def _queries_keys_values(
        self, layer: _Layer, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rotated queries and keys ``[T, H + G, D]``, and values ``[T, G, D]``."""
        joined = layer.qkv(_rms(hidden, layer.norm_in, self._eps))
        joined = joined.view(len(hidden), -1, self._head_dim)
        both = joined[:, : self._heads + self._groups]
        if layer.q_norm is not None and layer.k_norm is not None:
            queries = _rms(both[:, : self._heads], layer.q_norm, self._eps)
            keys = _rms(both[:, self._heads :], layer.k_norm, self._eps)
            both = torch.cat([queries, keys], 1)
        rotated = (both * cos).add_(both.roll(self._head_dim // 2, -1).mul_(sin))
        return rotated, joined[:, self._heads + self._groups :]


def fuse(model: torch.nn.Module) -> FusedModel | None:
    """Return the fused model; None, with the reason logged, where it would not be the same one."""
    reason = why_not(model)
    if reason is None:
        try:
            with torch.inference_mode():
                fused = FusedModel(model)
                reason = _difference(model, fused)
        except RuntimeError as error:
            reason = f"this build of torch refuses: {error}"
        else:
            if reason is None:
                return fused
    get_logger(__name__).info("completions use the library's decoding: %s", reason)
    return None


def why_not(model: torch.nn.Module) -> str | None:
    """Return why a model cannot be fused, or None."""
    base = _base_of(model)
    if type(base).__name__ not in KNOWN_CLASSES:
        return f"{type(base).__name__} is not one of {', '.join(sorted(KNOWN_CLASSES))}"
    return next((reason for is_so, reason in _obstacles(base) if is_so), None)


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
        f"its weights take {size / 2**30:.1f} GiB and would be held twice",
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


def _difference(model: torch.nn.Module, fused: FusedModel) -> str | None:
    """Compare both on a few ids."""
    ids = [each % len(fused.embeddings) for each in PROBE_IDS]
    expected = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0].float()
    found = FusedRows(fused, 1, len(ids)).read([Part(0, ids, len(ids))]).float()
    error = (found - expected).abs().mean() / expected.std()
    if error <= PROBE_TOLERANCE[str(fused.dtype).removeprefix("torch.")]:
        return None
    return f"its logits differ by {error:.2g} of their spread"


def _base_of(model: torch.nn.Module) -> torch.nn.Module:
    unwrap = getattr(model, "get_base_model", None)
    return cast("torch.nn.Module", unwrap()) if unwrap is not None else model


def _layer(layer: torch.nn.Module) -> _Layer:
    names = dict(layer.named_modules())
    return _Layer(
        norm_in=_weight(layer, "input_layernorm"),
        qkv=_product(layer, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        q_norm=_weight(layer, "self_attn.q_norm") if "self_attn.q_norm" in names else None,
        k_norm=_weight(layer, "self_attn.k_norm") if "self_attn.k_norm" in names else None,
        out=_product(layer, "self_attn.o_proj"),
        norm_mlp=_weight(layer, "post_attention_layernorm"),
        gate_up=_product(layer, "mlp.gate_proj", "mlp.up_proj"),
        down=_product(layer, "mlp.down_proj"),
    )


def _weight(module: torch.nn.Module, name: str) -> torch.Tensor:
    return module.get_submodule(name).get_parameter("weight").detach()


def _product(module: torch.nn.Module, *names: str) -> Product:
    """Return the product with some matrices side by side, laid out for the processor."""
    projections = [module.get_submodule(name) for name in names]
    own = [dict(getattr(each, "base_layer", each).named_parameters()) for each in projections]
    weight = torch.cat([each["weight"].detach() for each in own])
    bias = torch.cat([each["bias"].detach() for each in own]) if "bias" in own[0] else None
    operations = torch.ops.mkldnn
    if not hasattr(operations, _MULTIPLY):
        return lambda inputs: torch.nn.functional.linear(inputs, weight, bias)
    packed = getattr(operations, _LAY_OUT)(weight, LAID_OUT_FOR_ROWS)
    multiply = getattr(operations, _MULTIPLY)
    return lambda inputs: cast("torch.Tensor", multiply(inputs, packed, bias, "none", [], ""))


def _rms(hidden: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    squares = hidden.to(torch.float32, copy=True).square_()
    scale = squares.mean(-1, keepdim=True).add_(eps).rsqrt_()
    return (hidden * scale).to(hidden.dtype).mul_(weight)
