"""Short hashes of a base's weights, the same however it is loaded.

Only the signs of a sample are hashed: rounding a weight to another number type, or widening it,
never changes its sign. The embedding is left as it is by 4-bit quantisation too, so a quantised
copy has the embedding's hash of its original; its projections are not comparable.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor
    from transformers import PreTrainedModel

_EMBEDDING_ROWS = 64
_PROJECTION_ROWS = 4
_DIGEST_BYTES = 6
_MATRIX_DIMENSIONS = 2


@dataclass(frozen=True, slots=True)
class BaseMarks:
    """Hashes of a base's weights.

    Args:
        embedding: Of rows from the middle of its vocabulary; None where it is unknown.
        projections: Of the other matrices; None for a quantised base or where it is unknown.
    """

    embedding: str | None = None
    projections: str | None = None

    def difference(self, other: BaseMarks) -> tuple[str, str] | None:
        """Return both hashes of the part in which two bases differ; None where none is known to."""
        for one, two in (
            (self.embedding, other.embedding),
            (self.projections, other.projections),
        ):
            if one is not None and two is not None and one != two:
                return one, two
        return None


NO_MARKS = BaseMarks()


def marks_of(model: PreTrainedModel) -> BaseMarks:
    """Return the hashes of a loaded base, before it gets an adapter."""
    embedding = cast("Tensor", model.get_input_embeddings().weight)
    if not _is_plain(embedding):
        return NO_MARKS
    rows = len(embedding)
    start, step = rows // 8, max(1, rows // 2 // _EMBEDDING_ROWS)
    sample = embedding[start : start + step * _EMBEDDING_ROWS : step]
    others = [
        each
        for each in (getattr(module, "weight", None) for module in model.modules())
        if each is not None and each is not embedding and each.ndim == _MATRIX_DIMENSIONS
    ]
    is_whole = bool(others) and all(map(_is_plain, others)) and not _is_quantised(model)
    projections = _hash(each[:_PROJECTION_ROWS] for each in others) if is_whole else None
    return BaseMarks(_hash([sample]), projections)


def _is_quantised(model: PreTrainedModel) -> bool:
    return bool(getattr(model, "is_quantized", False))


def _is_plain(weight: Tensor) -> bool:
    """Tell whether a weight lies here in floating-point numbers."""
    return weight.is_floating_point() and not weight.is_meta


def _hash(samples: Iterable[Tensor]) -> str:
    """Return a hash of the signs of samples."""
    import torch

    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for sample in samples:
        digest.update(torch.signbit(sample.detach()).to("cpu").numpy().tobytes())
    return digest.hexdigest()
