"""The backward pass of attention in blocks of queries, through matrix products.

Torch's flash kernel for the CPU is fast forward and slow backward. Here the weights of a block of
queries are made again from the log-sum-exp of the forward pass. The log-sum-exp is subtracted
inside the product, as two more columns, so that only a difference near zero is rounded to the
number type of the product; the same holds for the gradient's mean over a row of weights.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from fim.packing import Piece

QUERY_BLOCK = 128


class Attended(NamedTuple):
    """What the forward pass of attention kept.

    Args:
        query: ``[B, H, T, D]``.
        key: ``[B, K, T, D]``, with K a divisor of H.
        value: As ``key``.
        out: As ``query``.
        sums: Log-sum-exp of every query's scores ``[B, H, T]``.
        scale: Factor of the scores.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    out: Tensor
    sums: Tensor
    scale: float


def gradients_in_blocks(
    grad: Tensor, kept: Attended, pieces: Sequence[Piece]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of queries, keys and values.

    Args:
        grad: Gradient of the output ``[B, H, T, D]``.
        kept: What the forward pass kept.
        pieces: Which stretches see what.
    """
    batch, heads, length, size = kept.query.shape
    shared_by = heads // kept.key.shape[1]
    even = 2.0 ** round(math.log2(kept.scale))
    rest = kept.scale / even
    along = (grad.to(kept.sums.dtype) * kept.out).sum(-1)
    asked = _grouped(_with_columns(kept.query * even, -kept.sums / rest), shared_by)
    wanted = _grouped(_with_columns(grad, -along), shared_by)
    key, value = _with_ones(kept.key), _with_ones(kept.value)
    to_query = torch.empty_like(asked[..., :size])
    to_key = torch.zeros_like(key[..., :size], dtype=kept.sums.dtype)
    to_value = torch.zeros_like(to_key)
    mask = _causal_mask(shared_by, asked)
    for rows, trunk, own in _blocks(pieces):
        at = slice(rows.start * shared_by, rows.stop * shared_by)
        num_new = rows.stop - rows.start
        seen_key, seen_value = _seen(key, trunk, own), _seen(value, trunk, own)
        weights = torch.bmm(asked[:, at], seen_key.transpose(1, 2))
        if rest != 1.0:
            weights.mul_(rest)
        weights[..., -num_new:] += mask[: num_new * shared_by, :num_new]
        weights.exp_()
        moved = torch.bmm(weights.transpose(1, 2), wanted[:, at, :size])
        slopes = torch.bmm(wanted[:, at], seen_value.transpose(1, 2)).mul_(weights)
        to_query[:, at] = torch.bmm(slopes, seen_key[..., :size])
        turned = torch.bmm(slopes.transpose(1, 2), asked[:, at, :size])
        num_trunk = trunk.stop - trunk.start
        for total, part in ((to_key, turned), (to_value, moved)):
            total[:, own] += part[:, num_trunk:]
            if num_trunk:
                total[:, trunk] += part[:, :num_trunk]
    to_query = to_query.mul_(kept.scale).view(batch, -1, length, shared_by, size)
    shape = kept.key.shape
    return (
        to_query.transpose(2, 3).reshape(kept.query.shape),
        to_key.mul_(rest).to(kept.key.dtype).view(shape),
        to_value.to(kept.value.dtype).view(shape),
    )


def _blocks(pieces: Sequence[Piece]) -> Iterator[tuple[slice, slice, slice]]:
    """Yield places of queries with the places of the trunk and of their own stretch they see."""
    for piece in pieces:
        trunk = slice(piece.trunk_start, piece.trunk_start + piece.shared)
        for start in range(piece.start, piece.stop, QUERY_BLOCK):
            stop = min(piece.stop, start + QUERY_BLOCK)
            yield slice(start, stop), trunk, slice(piece.start, stop)


def _seen(tensor: Tensor, trunk: slice, own: slice) -> Tensor:
    """Return the places of a trunk and of a stretch, one after the other."""
    if trunk.start == trunk.stop:
        return tensor[:, own]
    return torch.cat((tensor[:, trunk], tensor[:, own]), dim=1)


def _with_columns(tensor: Tensor, column: Tensor) -> Tensor:
    """Return vectors with a number behind each, as two of their number type."""
    high = column.to(tensor.dtype)
    low = (column - high).to(tensor.dtype)
    return torch.cat((tensor, high.unsqueeze(-1), low.unsqueeze(-1)), dim=-1)


def _with_ones(tensor: Tensor) -> Tensor:
    """Return keys or values ``[B * K, T, D + 2]`` with two ones behind each."""
    ones = tensor.new_ones(1).expand(*tensor.shape[:-1], 2)
    return torch.cat((tensor, ones), dim=-1).flatten(0, 1)


def _grouped(tensor: Tensor, shared_by: int) -> Tensor:
    """Return vectors ``[B * K, T * G, D]``, those that share a key next to each other."""
    batch, heads, length, size = tensor.shape
    by_key = tensor.view(batch, heads // shared_by, shared_by, length, size).transpose(2, 3)
    return by_key.reshape(-1, length * shared_by, size)


def _causal_mask(shared_by: int, like: Tensor) -> Tensor:
    """Return what is added to the scores of a block's own places."""
    mask = like.new_full((QUERY_BLOCK, QUERY_BLOCK), float("-inf")).triu_(1)
    return mask.repeat_interleave(shared_by, dim=0)
