"""A key-value cache that is written in place.

The cache of transformers joins old and new keys at every token, which copies the whole cache each
time. Here room for the longest answer is allocated once; a step writes one column, and the model
sees a view. Layers of any other kind than full attention keep the cache of the library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from transformers.cache_utils import DynamicCache, DynamicLayer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedConfig


class InPlaceLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values ``[B, H, T, D]`` in a buffer with room for ``capacity`` positions."""

    def __init__(self, capacity: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._capacity = capacity
        self._length = 0
        self._key_buffer: torch.Tensor | None = None
        self._value_buffer: torch.Tensor | None = None

    def update(
        self,
        key_states: torch.Tensor,
        value_states: torch.Tensor,
        *_args: object,
        **_kwargs: object,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write new positions behind the old ones and return views of all of them."""
        keys, values = self._buffers(key_states, value_states)
        start, self._length = self._length, self._length + key_states.shape[-2]
        keys[:, :, start : self._length] = key_states
        values[:, :, start : self._length] = value_states
        return self._expose(keys, values)

    def rewind(self, length: int) -> None:
        """Forget every position from ``length`` on."""
        if self._key_buffer is not None and self._value_buffer is not None:
            self._length = length
            self._expose(self._key_buffer, self._value_buffer)

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep some rows, and make the buffers smaller by it."""
        if self._key_buffer is None or self._value_buffer is None:
            return
        self._key_buffer = self._shrunk(self._key_buffer, indices)
        self._value_buffer = self._shrunk(self._value_buffer, indices)
        self._expose(self._key_buffer, self._value_buffer)

    def _buffers(
        self, key_states: torch.Tensor, value_states: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self._key_buffer is None or self._value_buffer is None:
            self.dtype, self.device = key_states.dtype, key_states.device
            self._key_buffer = _room(key_states, len(key_states), self._capacity)
            self._value_buffer = _room(value_states, len(value_states), self._capacity)
            self.is_initialized = True
        return self._key_buffer, self._value_buffer

    def _shrunk(self, buffer: torch.Tensor, indices: torch.Tensor) -> torch.Tensor:
        room = _room(buffer, len(indices), self._capacity)
        torch.index_select(buffer[:, :, : self._length], 0, indices, out=room[:, :, : self._length])
        return room

    def _expose(
        self, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.keys, self.values = keys[:, :, : self._length], values[:, :, : self._length]
        return self.keys, self.values


def _room(like: torch.Tensor, rows: int, capacity: int) -> torch.Tensor:
    return like.new_empty(rows, like.shape[1], capacity, like.shape[3])


def make_cache(config: PreTrainedConfig, capacity: int) -> DynamicCache:
    """Return an empty cache for a model, with room for ``capacity`` positions a row."""
    cache = DynamicCache(config=config)
    cache.layers = [
        InPlaceLayer(capacity) if type(layer) is DynamicLayer else layer for layer in cache.layers
    ]
    return cache


def keep_rows(cache: DynamicCache, rows: Sequence[int], device: torch.device) -> None:
    """Forget every row of the cache but these."""
    cache.batch_select_indices(torch.tensor(list(rows), dtype=torch.long, device=device))


def is_rewindable(cache: DynamicCache) -> bool:
    """Return whether every layer can forget its last positions."""
    return all(isinstance(layer, InPlaceLayer) for layer in cache.layers)


def num_positions(cache: DynamicCache) -> int | None:
    """Return how many positions a cache was given: the most that one of its layers counts.

    None where no layer counts, since none of them attends.
    """
    counts = [each.get_seq_length() for each in cache.layers if hasattr(each, "get_seq_length")]
    return max(counts, default=None)


def rewind(cache: DynamicCache, length: int) -> None:
    """Forget every position from ``length`` on."""
    for layer in cache.layers:
        if isinstance(layer, InPlaceLayer):
            layer.rewind(length)
