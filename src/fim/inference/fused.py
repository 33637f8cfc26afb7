"""A model's forward pass on the CPU through torch, in few and large operations.

Reading the weights is what a token costs on a CPU. The library's modules reach about a fifth of
that limit: every layer multiplies by seven matrices in the layout that they are stored in. Here the
matrices with one input are joined and laid out once as the processor wants them, and keys and
values are written in place.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, cast

import torch

from fim.inference.fused_rows import FusedRows
from fim.inference.weights import ModelWeights, Projection, rotation_tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fim.inference.weights import LayerWeights

    Product = Callable[[torch.Tensor], torch.Tensor]
    Attend = Callable[[tuple[torch.Tensor, torch.Tensor], torch.Tensor, torch.Tensor], torch.Tensor]

LAID_OUT_FOR_ROWS = 48
_LAY_OUT, _MULTIPLY = "_reorder_linear_weight", "_linear_pointwise"


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

    drafted_tokens: Mapping[int, int] = MappingProxyType({5: 15, 3: 11, 2: 7, 1: 3})

    def __init__(self, model: torch.nn.Module) -> None:
        weights = ModelWeights(model)
        self._shape = weights.shape
        self._rotary = weights.rotary
        self._embeddings = weights.embeddings
        self._norm = weights.norm
        self._head = _product(weights.head)
        self.dtype = self._embeddings.dtype
        self.layers = tuple(map(_layer, weights.layers()))

    def rows(self, rows: int, capacity: int) -> FusedRows:
        """Return room for some sequences of at most so many ids each."""
        return FusedRows(self, rows, capacity)

    def rotations(self, capacity: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Return cosines and signed sines ``[T, 1, D]`` of all positions."""
        cos, sin = rotation_tables(self._rotary, self._embeddings, capacity)
        return torch.cat([cos, cos], -1)[:, None], torch.cat([-sin, sin], -1)[:, None]

    def new_cache(self, rows: int, capacity: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Return room for keys and values ``[B, G, T, D]`` of every layer, all of it zeros."""
        shape = (rows, self._shape.groups, capacity, self._shape.head_dim)
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
        hidden, eps = self._embeddings[ids], self._shape.eps
        for layer, kept in zip(self.layers, cache, strict=True):
            attended = attend(kept, *self._queries_keys_values(layer, hidden, *rotations))
            if wanted is not None and layer is self.layers[-1]:
                hidden, attended = hidden[wanted], attended[wanted]
            hidden += layer.out(attended.flatten(1))
            gate, up = layer.gate_up(_rms(hidden, layer.norm_mlp, eps)).chunk(2, -1)
            hidden += layer.down(torch.nn.functional.silu(gate).mul_(up))
        return self._head(_rms(hidden, self._norm, eps))

    def _queries_keys_values(
        self, layer: _Layer, hidden: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return rotated queries and keys ``[T, H + G, D]``, and values ``[T, G, D]``."""
        shape = self._shape
        joined = layer.qkv(_rms(hidden, layer.norm_in, shape.eps))
        joined = joined.view(len(hidden), -1, shape.head_dim)
        both = joined[:, : shape.heads + shape.groups]
        if layer.q_norm is not None and layer.k_norm is not None:
            queries = _rms(both[:, : shape.heads], layer.q_norm, shape.eps)
            keys = _rms(both[:, shape.heads :], layer.k_norm, shape.eps)
            both = torch.cat([queries, keys], 1)
        rotated = (both * cos).add_(both.roll(shape.head_dim // 2, -1).mul_(sin))
        return rotated, joined[:, shape.heads + shape.groups :]


def _layer(weights: LayerWeights) -> _Layer:
    return _Layer(
        norm_in=weights.norm_in,
        qkv=_product(_joined(weights.query, weights.key, weights.value)),
        q_norm=weights.q_norm,
        k_norm=weights.k_norm,
        out=_product(weights.out),
        norm_mlp=weights.norm_mlp,
        gate_up=_product(_joined(weights.gate, weights.up)),
        down=_product(weights.down),
    )


def _joined(*projections: Projection) -> Projection:
    """Return matrices with one input as one."""
    biases = [each.bias for each in projections if each.bias is not None]
    return Projection(
        weight=torch.cat([each.weight for each in projections]),
        bias=torch.cat(biases) if biases else None,
    )


def _product(projection: Projection) -> Product:
    """Return the product with a matrix, laid out where torch can do that for its number type."""
    weight, bias = projection.weight, projection.bias
    operations = torch.ops.mkldnn
    try:
        packed = getattr(operations, _LAY_OUT)(weight, LAID_OUT_FOR_ROWS)
        multiply = getattr(operations, _MULTIPLY)
    except (AttributeError, RuntimeError):
        return lambda inputs: torch.nn.functional.linear(inputs, weight, bias)
    return lambda inputs: cast("torch.Tensor", multiply(inputs, packed, bias, "none", [], ""))


def _rms(hidden: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    squares = hidden.to(torch.float32, copy=True).square_()
    scale = squares.mean(-1, keepdim=True).add_(eps).rsqrt_()
    return (hidden * scale).to(hidden.dtype).mul_(weight)
