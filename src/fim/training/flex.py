"""The attention of a packed row as a block mask: for FlexAttention on CUDA."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor
    from torch.nn.attention.flex_attention import BlockMask
    from transformers import PreTrainedModel

    from fim.packing import Piece

FLEX_NAME = "flex_attention"


def flex_mask(pieces: Sequence[Piece], *, device: str) -> BlockMask:
    """Return which places of a packed row see which, as blocks that a kernel skips or computes.

    Args:
        pieces: The stretches of the row.
        device: Where the mask is wanted.
    """
    import torch
    from torch.nn.attention.flex_attention import create_block_mask

    lengths = torch.tensor([piece.length for piece in pieces], device=device)

    def spread(values: Sequence[int]) -> Tensor:
        return torch.repeat_interleave(torch.tensor(values, device=device), lengths)

    own = spread([piece.start for piece in pieces])
    first = spread([piece.trunk_start for piece in pieces])
    last = spread([piece.trunk_start + piece.shared for piece in pieces])

    def sees(_batch: Tensor, _head: Tensor, asking: Tensor, seen: Tensor) -> Tensor:
        is_own = (seen >= own[asking]) & (seen <= asking)
        return is_own | ((seen >= first[asking]) & (seen < last[asking]))

    length = len(own)
    return create_block_mask(sees, None, None, length, length, device=device)


@contextmanager
def flex_attention_on(base: PreTrainedModel) -> Iterator[None]:
    """Let a model attend through FlexAttention for the whole of training.

    Args:
        base: The model without a PEFT wrapper.
    """
    kept = base.config._attn_implementation  # noqa: SLF001
    base.config._attn_implementation = FLEX_NAME  # noqa: SLF001
    try:
        yield
    finally:
        base.config._attn_implementation = kept  # noqa: SLF001
