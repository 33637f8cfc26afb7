"""A Llama-like model as a graph for ONNX Runtime.

Keys and values live outside the graph, in room for whole sequences, and are written in place by
``GroupQueryAttention``. Hidden states are rows ``[T, E]`` of all sequences, so that a product is
one product whatever the sequences; only attention sees them as ``[B, S, ...]``.

Source: the operators of the domain ``com.microsoft`` as ONNX Runtime documents them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
from onnx import TensorProto, helper

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    import torch

    from fim.inference.weights import LayerShape, LayerWeights, ModelWeights, Projection

IDS, WANTED, JOINED_SHAPE = "ids", "wanted", "joined_shape"
LAST_PLACES, MOST_IDS = "last_places", "most_ids"
COSINES, SINES, LOGITS = "cosines", "sines", "logits"
_CONTRIBUTED = "com.microsoft"
_OPSETS = {"": 18, _CONTRIBUTED: 1}
_IR_VERSION = 10


def cache_names(layer: int) -> Iterator[tuple[str, str]]:
    """Yield the input and the output of a layer's keys, then those of its values."""
    for kind in ("keys", "values"):
        yield f"{kind}_before_{layer}", f"{kind}_{layer}"


class Graph:
    """The graph of a model; its weights stay where they are and are handed to the session.

    Args:
        weights: The model's weights, all of them float32.
    """

    def __init__(self, weights: ModelWeights) -> None:
        self.shape: LayerShape = weights.shape
        self.weights: dict[str, np.ndarray] = {}
        self.num_layers = 0
        self._nodes: list[onnx.NodeProto] = []
        self._numbers: set[str] = set()
        self._names: dict[tuple[int, tuple[int, ...]], str] = {}
        self._write(weights)

    def model(self) -> onnx.ModelProto:
        """Return the model without the weights, which it names as external."""
        graph = helper.make_graph(
            self._nodes, "completion", list(self._inputs()), list(self._outputs())
        )
        graph.initializer.extend(_external(name, each) for name, each in self.weights.items())
        opsets = [helper.make_opsetid(domain, version) for domain, version in _OPSETS.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)

    def _write(self, weights: ModelWeights) -> None:
        embeddings = self._kept("embeddings", weights.embeddings)
        hidden = self._add("Gather", [embeddings, IDS])
        rest: str | None = None
        layers = list(weights.layers())
        for layer in layers:
            hidden, normed = self._normed(hidden, rest, layer.norm_in)
            attended = self._attended(layer, normed)
            if layer is layers[-1]:
                hidden = self._add("Gather", [hidden, WANTED], axis=0)
                attended = self._add("Gather", [attended, WANTED], axis=0)
            hidden, normed = self._normed(
                hidden, self._product(layer.out, attended), layer.norm_mlp
            )
            both = self._product(layer.gate_up, normed)
            gate, up = self._add_many("Split", [both], 2, axis=-1, num_outputs=2)
            active = self._add("QuickGelu", [gate], alpha=1.0)
            rest = self._product(layer.down, self._add("Mul", [active, up]))
        _, normed = self._normed(hidden, rest, weights.norm)
        self._product(weights.head, normed, result=LOGITS)

    def _attended(self, layer: LayerWeights, normed: str) -> str:
        """Add the attention of a layer and return its result ``[T, H * D]``."""
        shape, number = self.shape, self.num_layers
        self.num_layers += 1
        joined = self._product(layer.qkv, normed)
        parts = [self._add("Reshape", [joined, JOINED_SHAPE]), "", ""]
        if layer.q_norm is not None and layer.k_norm is not None:
            widths = [each * shape.head_dim for each in (shape.heads, shape.groups, shape.groups)]
            split = self._kept_numbers("widths", widths)
            queries, keys, values = self._add_many("Split", [parts[0], split], 3, axis=-1)
            parts = [
                self._normed_heads(queries, layer.q_norm, shape.heads),
                self._normed_heads(keys, layer.k_norm, shape.groups),
                values,
            ]
        before, after = zip(*cache_names(number), strict=True)
        attended = f"attended_{number}"
        self._nodes.append(
            helper.make_node(
                "GroupQueryAttention",
                [*parts, *before, LAST_PLACES, MOST_IDS, COSINES, SINES],
                [attended, *after],
                domain=_CONTRIBUTED,
                num_heads=shape.heads,
                kv_num_heads=shape.groups,
                do_rotary=1,
                rotary_interleaved=0,
                scale=shape.head_dim**-0.5,
            )
        )
        flat = self._kept_numbers("flat", [-1, shape.heads * shape.head_dim])
        return self._add("Reshape", [attended, flat])

    def _normed_heads(self, heads: str, weight: torch.Tensor, count: int) -> str:
        """Return heads ``[B, S, N * D]``, each of them normed."""
        dim = self.shape.head_dim
        apart = self._kept_numbers("apart", [0, 0, -1, dim])
        joined = self._kept_numbers(f"joined_{count}", [0, 0, count * dim])
        normed = self._norm(self._add("Reshape", [heads, apart]), weight)
        return self._add("Reshape", [normed, joined])

    def _norm(self, hidden: str, weight: torch.Tensor) -> str:
        name = self._kept(f"norm_{len(self._nodes)}", weight)
        return self._add(
            "SimplifiedLayerNormalization", [hidden, name], axis=-1, epsilon=self.shape.eps
        )

    def _normed(self, hidden: str, rest: str | None, weight: torch.Tensor) -> tuple[str, str]:
        """Return the sum of two hidden states, and that sum normed."""
        if rest is None:
            return hidden, self._norm(hidden, weight)
        normed, total = f"normed_{len(self._nodes)}", f"sum_{len(self._nodes)}"
        name = self._kept(f"norm_{len(self._nodes)}", weight)
        self._nodes.append(
            helper.make_node(
                "SkipSimplifiedLayerNormalization",
                [rest, hidden, name],
                [normed, "", "", total],
                domain=_CONTRIBUTED,
                epsilon=self.shape.eps,
            )
        )
        return total, normed

    def _product(self, projection: Projection, inputs: str, result: str | None = None) -> str:
        name = f"weight_{len(self._nodes)}"
        operands = [inputs, self._kept(name, projection.weight)]
        if projection.bias is not None:
            operands.append(self._kept(f"{name}_bias", projection.bias))
        return self._add("Gemm", operands, result=result, transB=1)

    def _kept(self, name: str, tensor: torch.Tensor) -> str:
        """Name a weight; the same weight is kept once."""
        array = tensor.detach().contiguous().numpy()
        name = self._names.setdefault((array.ctypes.data, array.shape), name)
        self.weights[name] = array
        return name

    def _kept_numbers(self, name: str, numbers: Sequence[int]) -> str:
        """Name whole numbers that an operator takes as an input."""
        if name not in self._numbers:
            self._numbers.add(name)
            value = helper.make_tensor(name, TensorProto.INT64, [len(numbers)], list(numbers))
            self._nodes.append(helper.make_node("Constant", [], [name], value=value))
        return name

    def _add(
        self, kind: str, inputs: Sequence[str], result: str | None = None, **how: object
    ) -> str:
        return self._add_many(kind, inputs, 1, result=result, **how)[0]

    def _add_many(
        self,
        kind: str,
        inputs: Sequence[str],
        count: int,
        result: str | None = None,
        **how: object,
    ) -> list[str]:
        outputs = [result or f"{kind.lower()}_{len(self._nodes)}_{each}" for each in range(count)]
        domain = _CONTRIBUTED if kind == "QuickGelu" else ""
        node = helper.make_node(kind, list(inputs), outputs, domain=domain)
        node.attribute.extend(helper.make_attribute(key, value) for key, value in how.items())
        self._nodes.append(node)
        return outputs

    def _inputs(self) -> Iterator[onnx.ValueInfoProto]:
        info = helper.make_tensor_value_info
        yield info(IDS, TensorProto.INT64, ["T"])
        yield info(WANTED, TensorProto.INT64, ["N"])
        yield info(JOINED_SHAPE, TensorProto.INT64, [3])
        yield info(LAST_PLACES, TensorProto.INT32, ["B"])
        yield info(MOST_IDS, TensorProto.INT32, [])
        for name in (COSINES, SINES):
            yield info(name, TensorProto.FLOAT, ["C", self.shape.head_dim // 2])
        yield from (self._cache(before) for before, _ in self._caches())

    def _outputs(self) -> Iterator[onnx.ValueInfoProto]:
        yield helper.make_tensor_value_info(LOGITS, TensorProto.FLOAT, ["N", "V"])
        yield from (self._cache(after) for _, after in self._caches())

    def _caches(self) -> Iterator[tuple[str, str]]:
        for layer in range(self.num_layers):
            yield from cache_names(layer)

    def _cache(self, name: str) -> onnx.ValueInfoProto:
        shape: list[str | int | None] = ["B", self.shape.groups, "C", self.shape.head_dim]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _external(name: str, array: np.ndarray) -> TensorProto:
    tensor = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=array.shape, data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="weights")
    return tensor
