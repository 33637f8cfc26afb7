"""A Llama-like model's forward pass on the CPU in float32, by the compiled library.

Sequences are those of :mod:`fim.inference.rows`.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from fim.inference.native.encoding import BLOCK, EncodedLinear, Linear, encode_linear
from fim.inference.native.library import native_library
from fim.inference.rows import wanted_places
from fim.inference.weights import LayerWeights, ModelWeights, Projection, rotation_tables

if TYPE_CHECKING:
    from fim.inference.rows import Part

MOST_HEAD_DIM = 512
NUM_LINEARS = 7


class _Layer(ctypes.Structure):
    _fields_ = (
        ("norm_in", ctypes.c_void_p),
        ("norm_mlp", ctypes.c_void_p),
        ("q_norm", ctypes.c_void_p),
        ("k_norm", ctypes.c_void_p),
        ("linears", Linear * NUM_LINEARS),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int32) for name in ("layers", "hidden", "heads", "groups")),
        *((name, ctypes.c_int32) for name in ("head_dim", "inner", "vocabulary", "low")),
        ("eps", ctypes.c_float),
        ("embeddings", ctypes.c_void_p),
        ("norm", ctypes.c_void_p),
        ("head", Linear),
        ("layer", ctypes.c_void_p),
    )


class _Cache(ctypes.Structure):
    _fields_ = (
        ("rows", ctypes.c_int32),
        ("capacity", ctypes.c_int32),
        *((name, ctypes.c_void_p) for name in ("keys", "values", "cosines", "sines")),
    )


class _Part(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int32) for name in ("row", "start", "count"))


class NativeModel:
    """The weights of a Llama-like model in forms of the library.

    Args:
        model: A causal language model of transformers in float32 of which ``why_not`` has nothing
            to say.

    Raises:
        RuntimeError: There is no library, or it does not take matrices of these sizes.
    """

    forms: Counter[int]
    """How many numbers are kept in so many bits."""

    drafted_tokens: Mapping[int, int] = MappingProxyType({5: 5, 3: 3, 2: 2, 1: 1})

    def __init__(self, model: torch.nn.Module) -> None:
        self.library = native_library()
        self.panel: int = self.library.fim_panel()
        weights = ModelWeights(model)
        shape = self.shape = weights.shape
        if shape.head_dim % self.panel or shape.head_dim > MOST_HEAD_DIM:
            raise RuntimeError(f"heads of {shape.head_dim} numbers are not attended to")
        if len(weights.norm) % BLOCK:
            raise RuntimeError(f"hidden states of {len(weights.norm)} numbers are not taken")
        self._rotary, self._embeddings = weights.rotary, weights.embeddings.contiguous()
        layers = list(weights.layers())
        head, *linears = self._encoded([weights.head, *chain.from_iterable(map(_linears, layers))])
        groups = [linears[at : at + NUM_LINEARS] for at in range(0, len(linears), NUM_LINEARS)]
        norms = [(each.norm_in, each.norm_mlp, each.q_norm, each.k_norm) for each in layers]
        structs = (_Layer * len(layers))(*map(_layer, norms, groups))
        self._kept = (head, linears, norms, weights.norm, structs)
        self.forms = Counter()
        for each in (head, *linears):
            self.forms[each.weight.bits] += each.weight.size
        self.vocabulary, self.num_embeddings = len(weights.head.weight), len(self._embeddings)
        self.struct = _Model(
            layers=len(layers),
            hidden=len(weights.norm),
            heads=shape.heads,
            groups=shape.groups,
            head_dim=shape.head_dim,
            inner=len(layers[0].up.weight),
            vocabulary=self.vocabulary,
            low=max(sum(each.rank for each in group) for group in ([head], *groups)),
            eps=shape.eps,
            embeddings=self._embeddings.data_ptr(),
            norm=weights.norm.data_ptr(),
            head=head.linear(),
            layer=ctypes.addressof(structs),
        )

    def rows(self, rows: int, capacity: int) -> NativeRows:
        """Return room for some sequences of at most so many ids each."""
        return NativeRows(self, rows, capacity)

    def rotations(self, capacity: int) -> list[torch.Tensor]:
        """Return cosines and sines ``[T, D / 2]`` of all positions."""
        tables = rotation_tables(self._rotary, self._embeddings, capacity)
        return [each.contiguous() for each in tables]

    def _encoded(self, projections: Sequence[Projection]) -> list[EncodedLinear]:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            return list(pool.map(lambda each: encode_linear(self.library, each), projections))


class NativeRows:
    """Sequences that are being read and continued.

    Args:
        model: The model.
        rows: Most sequences at a time.
        capacity: Most ids that one of them will hold.
    """

    def __init__(self, model: NativeModel, rows: int, capacity: int) -> None:
        self.lengths = [0] * rows
        self._model = model
        panels = -(-capacity // model.panel)
        shape, layers = model.shape, model.struct.layers
        self._rotations = model.rotations(capacity)
        self._capacity = capacity
        self._room = torch.empty(0)
        self._keys = torch.zeros(layers, rows, shape.groups, panels, shape.head_dim, model.panel)
        self._values = torch.zeros(layers, rows, shape.groups, panels * model.panel, shape.head_dim)
        tensors = (self._keys, self._values, *self._rotations)
        self._cache = _Cache(rows, panels * model.panel, *(each.data_ptr() for each in tensors))

    def read(self, parts: Sequence[Part]) -> torch.Tensor:
        """Append ids and return the logits ``[N, V]`` after the last of each part."""
        ids = torch.tensor([token_id for part in parts for token_id in part.ids])
        wanted = torch.tensor(wanted_places(parts))
        return self._read([(part.row, len(part.ids)) for part in parts], ids, wanted)

    def step(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Append an id ``[B]`` to each of the first rows and return the logits ``[B, V]``."""
        num_rows = len(token_ids)
        return self._read([(row, 1) for row in range(num_rows)], token_ids, torch.arange(num_rows))

    def move(self, source: int, target: int) -> None:
        """Put one sequence in the place of another."""
        length = self.lengths[source]
        panels = -(-length // self._model.panel)
        self.lengths[target] = length
        self._keys[:, target, :, :panels] = self._keys[:, source, :, :panels]
        self._values[:, target, :, :length] = self._values[:, source, :, :length]

    def _read(
        self, places: Sequence[tuple[int, int]], ids: torch.Tensor, wanted: torch.Tensor
    ) -> torch.Tensor:
        model = self._model
        self._check(places, ids)
        parts = (_Part * len(places))(
            *(_Part(row, self.lengths[row], count) for row, count in places)
        )
        logits = torch.empty(len(wanted), model.vocabulary)
        ids, num_threads = ids.contiguous(), torch.get_num_threads()
        read = ctypes.addressof(model.struct), ctypes.addressof(parts), len(places)
        size = model.library.fim_room(*read, num_threads)
        if len(self._room) < size:
            self._room = torch.empty(size)
        model.library.fim_read(
            read[0],
            ctypes.addressof(self._cache),
            *read[1:],
            ids.data_ptr(),
            wanted.data_ptr(),
            len(wanted),
            logits.data_ptr(),
            self._room.data_ptr(),
            num_threads,
        )
        for row, count in places:
            self.lengths[row] += count
        return logits

    def _check(self, places: Sequence[tuple[int, int]], ids: torch.Tensor) -> None:
        """Keep the library from memory that is not its own.

        Raises:
            IndexError: A row is full, or an id is not of the vocabulary.
        """
        for row, count in places:
            if self.lengths[row] + count > self._capacity:
                raise IndexError(
                    f"Row {row} has room for {self._capacity} ids, not for "
                    f"{self.lengths[row]} and {count} more."
                )
        if int(ids.min()) < 0 or int(ids.max()) >= self._model.num_embeddings:
            raise IndexError(f"An id of {ids.tolist()} is not one of the model's.")


def _linears(layer: LayerWeights) -> list[Projection]:
    """Return the linear layers in the order that the library has them in."""
    return [layer.query, layer.key, layer.value, layer.out, layer.gate, layer.up, layer.down]


def _layer(norms: Sequence[torch.Tensor | None], linears: Sequence[EncodedLinear]) -> _Layer:
    """Return a layer as the library takes it; the arrays must live as long as it."""
    return _Layer(
        *(None if each is None else each.data_ptr() for each in norms),
        (Linear * NUM_LINEARS)(*(each.linear() for each in linears)),
    )
