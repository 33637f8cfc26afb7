"""A model's forward pass on the CPU through ONNX Runtime, in float32.

Its products read the weights at the speed of memory and its attention writes keys and values in
place. Sequences are those of :mod:`fim.inference.rows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fim.inference.onnx_graph import (
    COSINES,
    IDS,
    JOINED_SHAPE,
    LAST_PLACES,
    LOGITS,
    MOST_IDS,
    SINES,
    WANTED,
    Graph,
    cache_names,
)
from fim.inference.weights import ModelWeights, rotation_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnxruntime import InferenceSession, IOBinding

    from fim.inference.rows import Part


HEAD_DIM_MULTIPLE = 16


class OnnxModel:
    """A session of ONNX Runtime with the weights of a Llama-like model.

    Args:
        model: A causal language model of transformers in float32 of which ``why_not`` has nothing
            to say.

    Raises:
        RuntimeError: ONNX Runtime refuses the model.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        weights = ModelWeights(model)
        if weights.shape.head_dim % HEAD_DIM_MULTIPLE:
            raise RuntimeError(f"heads of {weights.shape.head_dim} numbers are not attended to")
        graph = Graph(weights)
        self.shape = weights.shape
        self.num_layers = graph.num_layers
        self.vocabulary = len(weights.head.weight)
        self._rotary, self._embeddings = weights.rotary, weights.embeddings
        self._kept = graph.weights
        self.session = _session(graph)

    def rows(self, rows: int, capacity: int) -> OnnxRows:
        """Return room for some sequences of at most so many ids each."""
        return OnnxRows(self, rows, capacity)

    def rotations(self, capacity: int) -> list[torch.Tensor]:
        """Return cosines and sines ``[T, D / 2]`` of all positions."""
        tables = rotation_tables(self._rotary, self._embeddings, capacity)
        return [each.contiguous() for each in tables]


class OnnxRows:
    """Sequences that are being read and continued; several ids of one, or one of each.

    Args:
        model: The model.
        rows: Most sequences at a time.
        capacity: Most ids that one of them will hold.
    """

    def __init__(self, model: OnnxModel, rows: int, capacity: int) -> None:
        self.lengths = [0] * rows
        self._model = model
        self._rotations = model.rotations(capacity)
        shape = model.shape
        size = (model.num_layers, 2, rows, shape.groups, capacity, shape.head_dim)
        self._cache = torch.zeros(size)
        self._bound: tuple[int, int] | None = None
        self._binding: IOBinding = model.session.io_binding()

    def read(self, parts: Sequence[Part]) -> torch.Tensor:
        """Append ids and return the logits ``[N, V]`` after the last of each part."""
        logits = [self._read(part) for part in parts]
        return logits[0] if len(logits) == 1 else torch.cat(logits)

    def step(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Append an id ``[B]`` to each of the first rows and return the logits ``[B, V]``."""
        num_rows = len(token_ids)
        for row in range(num_rows):
            self.lengths[row] += 1
        self._bind_cache(0, num_rows)
        return self._run(token_ids, num_rows, self.lengths[:num_rows], torch.arange(num_rows))

    def move(self, source: int, target: int) -> None:
        """Put one sequence in the place of another."""
        length = self.lengths[source]
        self.lengths[target] = length
        self._cache[:, :, target, :, :length] = self._cache[:, :, source, :, :length]

    def _read(self, part: Part) -> torch.Tensor:
        num_ids = len(part.ids)
        self.lengths[part.row] += num_ids
        self._bind_cache(part.row, 1)
        wanted = torch.arange(num_ids - part.num_logits, num_ids)
        return self._run(torch.tensor(part.ids), 1, [self.lengths[part.row]], wanted)

    def _bind_cache(self, first: int, count: int) -> None:
        """Let the next run see the keys and values of some rows."""
        if self._bound == (first, count):
            return
        self._binding = self._model.session.io_binding()
        self._bound = (first, count)
        for name, table in zip((COSINES, SINES), self._rotations, strict=True):
            self._bind(name, table)
        shape = [count, *self._cache.shape[3:]]
        for layer in range(self._model.num_layers):
            for kind, (before, after) in enumerate(cache_names(layer)):
                address = self._cache[layer, kind, first].data_ptr()
                self._binding.bind_input(before, "cpu", 0, np.float32, shape, address)
                self._binding.bind_output(after, "cpu", 0, np.float32, shape, address)

    def _run(
        self, ids: torch.Tensor, num_rows: int, lengths: Sequence[int], wanted: torch.Tensor
    ) -> torch.Tensor:
        model = self._model
        shape = model.shape
        width = (shape.heads + 2 * shape.groups) * shape.head_dim
        logits = torch.empty(len(wanted), model.vocabulary)
        inputs = {
            IDS: ids,
            WANTED: wanted,
            JOINED_SHAPE: torch.tensor([num_rows, len(ids) // num_rows, width]),
            LAST_PLACES: torch.tensor(lengths, dtype=torch.int32) - 1,
            MOST_IDS: torch.tensor(max(lengths), dtype=torch.int32),
        }
        for name, tensor in inputs.items():
            self._bind(name, tensor)
        self._binding.bind_output(
            LOGITS, "cpu", 0, np.float32, list(logits.shape), logits.data_ptr()
        )
        model.session.run_with_iobinding(self._binding)
        return logits

    def _bind(self, name: str, tensor: torch.Tensor) -> None:
        """Let the next run see a tensor, which has to live until then."""
        array = tensor.numpy()
        self._binding.bind_input(
            name, "cpu", 0, array.dtype.type, list(tensor.shape), tensor.data_ptr()
        )


def _session(graph: Graph) -> InferenceSession:
    """Return a session that uses as many threads as torch, and the weights where they lie.

    Raises:
        RuntimeError: ONNX Runtime refuses the model.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(each) for each in graph.weights.values()]
    options.add_external_initializers(list(graph.weights), values)
    try:
        return onnxruntime.InferenceSession(
            graph.model().SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except (
        errors.Fail,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.NotImplemented,
    ) as error:
        raise RuntimeError(str(error)) from error
