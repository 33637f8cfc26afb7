"""The weights of a Llama-like model, those with one input side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch

from fim.inference.decoder import model_config

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Projection:
    """A matrix ``[N, K]`` and what is added to its product ``[N]``, if anything."""

    weight: torch.Tensor
    bias: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """The weights of a layer, in the order of their use; norms of heads where there are some."""

    norm_in: torch.Tensor
    qkv: Projection
    q_norm: torch.Tensor | None
    k_norm: torch.Tensor | None
    out: Projection
    norm_mlp: torch.Tensor
    gate_up: Projection
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
        """Yield the layers; matrices that are joined are copies."""
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
        qkv=_projection(layer, "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        q_norm=_weight(layer, "self_attn.q_norm") if "self_attn.q_norm" in names else None,
        k_norm=_weight(layer, "self_attn.k_norm") if "self_attn.k_norm" in names else None,
        out=_projection(layer, "self_attn.o_proj"),
        norm_mlp=_weight(layer, "post_attention_layernorm"),
        gate_up=_projection(layer, "mlp.gate_proj", "mlp.up_proj"),
        down=_projection(layer, "mlp.down_proj"),
    )


def _weight(module: torch.nn.Module, name: str) -> torch.Tensor:
    return module.get_submodule(name).get_parameter("weight").detach()


def _projection(module: torch.nn.Module, *names: str) -> Projection:
    """Return some matrices as one."""
    projections = [module.get_submodule(name) for name in names]
    own = [dict(getattr(each, "base_layer", each).named_parameters()) for each in projections]
    return Projection(
        weight=_joined([each["weight"].detach() for each in own]),
        bias=_joined([each["bias"].detach() for each in own]) if "bias" in own[0] else None,
    )


def _joined(parts: list[torch.Tensor]) -> torch.Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
