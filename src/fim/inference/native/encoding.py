"""Matrices in the smallest form that holds them exactly.

A model that was read from a 4-bit file has 4-bit numbers, whatever type they are kept in; most
others were published in bfloat16. A form is taken where every number of a matrix is found again.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from fim.inference.weights import Projection

SMALL_FORMS = (4, 8, 16)
"""Bits of a number: GGUF's Q4_1 and Q8_0, bfloat16."""

FULL = 32
BLOCK = 32
FULL_BLOCK = 16
"""Inputs of a block: of the small forms, of float32."""

ROUNDING = 2.0**-21
"""How far adding and taking away an adapter may move a number, in parts of the largest one."""


class Matrix(ctypes.Structure):
    """A matrix as the library takes it."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("bits", ctypes.c_int32),
        ("outputs", ctypes.c_int32),
        ("inputs", ctypes.c_int32),
    )


class Linear(ctypes.Structure):
    """A linear layer as the library takes it; an adapter that is absent has no data."""

    _fields_ = (
        ("weight", Matrix),
        ("down", Matrix),
        ("up", Matrix),
        ("bias", ctypes.c_void_p),
    )


@dataclass(frozen=True, slots=True)
class Encoded:
    """A matrix ``[N, K]`` in one of the forms.

    Args:
        data: Bytes in the order of ``matrices.h``.
        bits: Which form.
        shape: N and K.
    """

    data: np.ndarray
    bits: int
    shape: tuple[int, int]

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return self.shape[0] * self.shape[1]

    def matrix(self) -> Matrix:
        """Return what the library takes; the data must live as long as it."""
        return Matrix(self.data.ctypes.data, self.bits, *self.shape)


@dataclass(frozen=True, slots=True)
class EncodedLinear:
    """A linear layer in forms of the library.

    Args:
        weight: Its matrix.
        down: The first matrix of an adapter that stands apart.
        up: The second one, scaled.
        bias: What is added, of whole panels.
    """

    weight: Encoded
    down: Encoded | None
    up: Encoded | None
    bias: np.ndarray | None

    @property
    def rank(self) -> int:
        """Columns of what the adapter's first matrix returns."""
        return self.down.shape[0] if self.down is not None else 0

    def linear(self) -> Linear:
        """Return what the library takes; the arrays must live as long as it."""
        return Linear(
            *(each.matrix() if each else Matrix() for each in (self.weight, self.down, self.up)),
            self.bias.ctypes.data if self.bias is not None else None,
        )


def encode_linear(library: ctypes.CDLL, projection: Projection) -> EncodedLinear:
    """Encode a linear layer; its adapter stands apart where the rest then has a small form.

    Raises:
        RuntimeError: The matrix does not have a multiple of 32 inputs, or numbers that are none.
    """
    weight, adapter = projection.weight, projection.adapter
    if weight.shape[1] % BLOCK:
        raise RuntimeError(f"a matrix has {weight.shape[1]} inputs, no multiple of {BLOCK}")
    bias = None if projection.bias is None else _padded_bias(library, projection.bias)
    if adapter is not None:
        added = adapter.up @ adapter.down
        apart = weight - added
        largest = float(torch.maximum(weight.abs().max(), added.abs().max()))
        base = encode(library, apart, SMALL_FORMS, ROUNDING * largest)
        if base is not None:
            missing = -len(adapter.down) % FULL_BLOCK
            pad = torch.nn.functional.pad
            down = encode(library, pad(adapter.down, (0, 0, 0, missing)), (FULL,))
            up = encode(library, pad(adapter.up, (0, missing)), (FULL,))
            return EncodedLinear(base, down, up, bias)
    whole = encode(library, weight, (*SMALL_FORMS, FULL))
    if whole is None:
        raise RuntimeError("a matrix has numbers that are none")
    return EncodedLinear(whole, None, None, bias)


def encode(
    library: ctypes.CDLL, weight: torch.Tensor, forms: Sequence[int], error: float = 0.0
) -> Encoded | None:
    """Return a matrix ``[N, K]`` in the first form of which no number is further off than allowed.

    Args:
        library: The compiled library.
        weight: The matrix, float32; K is a multiple of 32.
        forms: Bits of a number, in the order of trial.
        error: How far a number may be off.
    """
    array = weight.contiguous().numpy()
    shape = (array.shape[0], array.shape[1])
    for bits in forms:
        size = library.fim_encode(array.ctypes.data, *shape, bits, error, None)
        data = np.zeros(size, dtype=np.uint8)
        if library.fim_encode(array.ctypes.data, *shape, bits, error, data.ctypes.data):
            return Encoded(data, bits, shape)
    return None


def _padded_bias(library: ctypes.CDLL, bias: torch.Tensor) -> np.ndarray:
    """Return a bias of whole panels."""
    missing = -len(bias) % library.fim_panel()
    return torch.nn.functional.pad(bias, (0, missing)).numpy()
