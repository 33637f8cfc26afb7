"""Attention in pieces: what a packed row needs and nothing else, without a mask.

A trunk attends to itself, causally. A branch attends to its slice of the trunk, which needs no
mask, and to itself, causally. The two answers of a branch are one softmax in two parts, so they
are joined by their log-sum-exp. Forward, keys and values stay views of the packed row and key/value
heads are shared inside the kernel: nothing is copied or repeated. Backward goes by blocks of
queries. Rows that are not packed take the same way, each as one piece: its backward pass is the
faster one.

Source:
    The joining of partial softmaxes is that of FlashAttention and ring attention (Dao 2022, Liu
    2023); the kernel is torch's flash attention for the CPU.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import torch
from torch.autograd.function import once_differentiable

from fim.packing import Piece
from fim.training.blocks import Attended, gradients_in_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn
    from torch.autograd.function import FunctionCtx
    from transformers import PreTrainedModel

ATTENTION_NAME = "fim_pieces"
PIECES_ARGUMENT = "packed_pieces"


class _PieceAttention(torch.autograd.Function):
    """Attention of rows, packed or padded on the right, forward and backward, on the CPU."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        pieces: Sequence[Piece],
        scale: float,
    ) -> Tensor:
        """Return ``[B, H, T, D]``; the queries have H heads, keys and values H or a divisor."""
        out = torch.empty_like(query)
        sums = query.new_empty(query.shape[:3], dtype=_sum_dtype(query))
        for piece in pieces:
            own = slice(piece.start, piece.stop)
            asked = query[:, :, own]
            part, total = _flash(asked, key[:, :, own], value[:, :, own], scale, is_causal=True)
            if piece.shared:
                seen = slice(piece.trunk_start, piece.trunk_start + piece.shared)
                more = _flash(asked, key[:, :, seen], value[:, :, seen], scale, is_causal=False)
                part, total = _join(part, total, *more)
            out[:, :, own] = part
            sums[:, :, own] = total
        ctx.save_for_backward(query, key, value, out, sums)
        ctx.pieces, ctx.scale = pieces, scale  # type: ignore[attr-defined]
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        """Return the gradients of queries, keys and values."""
        query, key, value, out, sums = ctx.saved_tensors  # type: ignore[attr-defined]
        kept = Attended(query, key, value, out, sums, ctx.scale)  # type: ignore[attr-defined]
        found = gradients_in_blocks(grad, kept, ctx.pieces)  # type: ignore[attr-defined]
        return (*found, None, None)


def attend_in_pieces(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: object,
) -> tuple[Tensor, None]:
    """Return attention as transformers' interface wants it: ``[B, T, H, D]`` and no weights.

    Without pieces among the arguments this is torch's scaled dot-product attention, but where rows
    stand without a mask in training.

    Args:
        module: The attention layer.
        query: ``[B, H, T, D]``.
        key: ``[B, H or a divisor, T, D]``.
        value: As ``key``.
        attention_mask: Counts without pieces only.
        scaling: Factor of the scores; None for ``D ** -0.5``.
        dropout: Counts without pieces only; packing is refused with it.
        **kwargs: ``packed_pieces`` and what other layers want.
    """
    pieces = cast("Sequence[Piece] | None", kwargs.pop(PIECES_ARGUMENT, None))
    if pieces is None and not dropout and _is_whole_row(module, query, key, attention_mask):
        pieces = (Piece(row=0, start=0, length=query.shape[2], trunk_start=0, shared=0),)
    if pieces is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        found, _ = sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout=dropout,
            scaling=scaling,
            **kwargs,  # type: ignore[arg-type]
        )
        return found, None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    kind = query.dtype
    out = _PieceAttention.apply(query, key.to(kind), value.to(kind), pieces, scale)  # type: ignore[no-untyped-call]
    return cast("Tensor", out).transpose(1, 2), None


@contextmanager
def attention_in_pieces(base: PreTrainedModel) -> Iterator[None]:
    """Let a model attend in pieces wherever its forward is given them.

    The choice stays for the whole of training, since a checkpointed layer attends again in the
    backward pass.

    Args:
        base: The model without a PEFT wrapper.
    """
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, attend_in_pieces)
    ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, sdpa_mask)
    kept = base.config._attn_implementation  # noqa: SLF001
    base.config._attn_implementation = ATTENTION_NAME  # noqa: SLF001
    try:
        yield
    finally:
        base.config._attn_implementation = kept  # noqa: SLF001


def _is_whole_row(module: nn.Module, query: Tensor, key: Tensor, mask: Tensor | None) -> bool:
    """Tell whether every query is trained and sees all places before it and itself."""
    is_trained = torch.is_grad_enabled() and query.requires_grad and query.device.type == "cpu"
    is_square = query.shape[2] == key.shape[2]
    return is_trained and is_square and mask is None and bool(module.is_causal)


def _sum_dtype(tensor: Tensor) -> torch.dtype:
    """Return the number type that sums are kept in: float32, or float64 where that is computed."""
    return torch.float64 if tensor.dtype == torch.float64 else torch.float32


def _flash(
    query: Tensor, key: Tensor, value: Tensor, scale: float, *, is_causal: bool
) -> tuple[Tensor, Tensor]:
    """Return attention and its log-sum-exp ``[1, H, T]``."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001
    return cast("tuple[Tensor, Tensor]", kernel(query, key, value, 0.0, is_causal, scale=scale))


def _join(
    first: Tensor, first_sum: Tensor, second: Tensor, second_sum: Tensor
) -> tuple[Tensor, Tensor]:
    """Return two parts of one softmax as a whole."""
    total = torch.logaddexp(first_sum, second_sum)
    one = (first_sum - total).exp().unsqueeze(-1)
    other = (second_sum - total).exp().unsqueeze(-1)
    return (first * one + second * other).to(first.dtype), total
