"""The weights of a Llama-like model, in the order of their use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from fim.inference.decoder import model_config

if TYPE_CHECKING:
    from collections.abc import Iterator


_LORA = ("lora_A", "lora_B")


@dataclass(frozen=True, slots=True)
class Adapter:
    """The matrices ``[R, K]`` and ``[N, R]`` whose product was added to a matrix."""

    down: torch.Tensor
    up: torch.Tensor


@dataclass(frozen=True, slots=True)
class Projection:
    """A matrix and what belongs to it.

    Args:
        weight: The matrix ``[N, K]``, a merged adapter included.
        bias: What is added to its product ``[N]``, if anything.
        adapter: The adapter that is part of it, where there is a plain one.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    adapter: Adapter | None = None


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of a layer, in the order of their use; norms of heads where there are some."""

    norm_in: torch.Tensor
    query: Projection
    key: Projection
    value: Projection
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    out: Projection
    norm_mlp: torch.Tensor
    gate: Projection
    up: Projection
    down: Projection


@dataclass(frozen=True, slots=True)
class LayerShape:
    """What the layers of a model have in common.

    Args:
        heads: Heads of queries.
        groups: Heads of keys and values, a divisor of ``heads``.
        head_dim: Numbers of a head.
        eps: What norms add to the mean square.
    """

    heads: int
    groups: int
    head_dim: int
    eps: float


class ModelWeights:
    """The weights of a model as they are now, merged adapters included.

    Args:
        model: A causal language model of transformers that is built like Llama.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._base = base_of(model)
        config = model_config(self._base)
        heads = config.num_attention_heads
        self.shape = LayerShape(
            heads=heads,
            groups=config.num_key_value_heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            eps=config.rms_norm_eps,
        )
        self.embeddings = _weight(self._base, "model.embed_tokens")
        self.norm = _weight(self._base, "model.norm")
        self.head = _projection(self._base, "lm_head")
        self.rotary = self._base.get_submodule("model.rotary_emb")

    def layers(self) -> Iterator[LayerWeights]:
        """Yield the layers."""
        return map(_layer, self._base.get_submodule("model.layers").children())


def rotation_tables(
    rotary: torch.nn.Module, like: torch.Tensor, capacity: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return cosines and sines ``[T, D / 2]`` of all positions, in the number type of a tensor."""
    cos, sin = rotary(like[:1, None], torch.arange(capacity)[None])
    half = cos.shape[-1] // 2
    return cos[0, :, :half], sin[0, :, :half]


def base_of(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model without a PEFT wrapper."""
    unwrap = getattr(model, "get_base_model", None)
    return cast("torch.nn.Module", unwrap()) if unwrap is not None else model


def _layer(layer: torch.nn.Module) -> LayerWeights:
    names = dict(layer.named_modules())
    return LayerWeights(
        norm_in=_weight(layer, "input_layernorm"),
        query=_projection(layer, "self_attn.q_proj"),
        key=_projection(layer, "self_attn.k_proj"),
        value=_projection(layer, "self_attn.v_proj"),
        q_norm=_weight(layer, "self_attn.q_norm") if "self_attn.q_norm" in names else None,
        k_norm=_weight(layer, "self_attn.k_norm") if "self_attn.k_norm" in names else None,
        out=_projection(layer, "self_attn.o_proj"),
        norm_mlp=_weight(layer, "post_attention_layernorm"),
        gate=_projection(layer, "mlp.gate_proj"),
        up=_projection(layer, "mlp.up_proj"),
        down=_projection(layer, "mlp.down_proj"),
    )


def _weight(module: torch.nn.Module, name: str) -> torch.Tensor:
    return module.get_submodule(name).get_parameter("weight").detach()


def _projection(module: torch.nn.Module, name: str) -> Projection:
    linear = module.get_submodule(name)
    own = dict(getattr(linear, "base_layer", linear).named_parameters())
    bias = own.get("bias")
    return Projection(
        weight=own["weight"].detach(),
        bias=None if bias is None else bias.detach(),
        adapter=_merged_adapter(linear),
    )


def _merged_adapter(linear: torch.nn.Module) -> Adapter | None:
    """Return the only adapter of a layer of PEFT, where it is plain LoRA."""
    names = getattr(linear, "merged_adapters", [])
    if len(names) != 1 or getattr(linear, "lora_variant", None):
        return None
    (name,) = names
    down, up = (dict(linear.get_submodule(each).named_children()).get(name) for each in _LORA)
    if not (isinstance(down, torch.nn.Linear) and isinstance(up, torch.nn.Linear)):
        return None
    if any(len(list(each.parameters())) > 1 for each in (down, up)):
        return None
    scale = cast("dict[str, float]", linear.scaling)[name]
    return Adapter(down.weight.detach().float(), up.weight.detach().float() * scale)
