"""Liger's Triton kernels on CUDA: norms, rotations and gated products in one pass each.

Liger's cross-entropy stays off: supervised positions alone reach the head here, in chunks, so there
are no logits of a whole batch to spare.

Source: Hsu et al. 2024, arXiv:2410.10989.
"""

from __future__ import annotations

import logging
from importlib.util import find_spec
from typing import TYPE_CHECKING

from fim.errors import MissingExtraError

if TYPE_CHECKING:
    from fim.model import LoadedModel

LIGER_KERNELS = {
    "rope": True,
    "rms_norm": True,
    "swiglu": True,
    "cross_entropy": False,
    "fused_linear_cross_entropy": False,
}
_logger = logging.getLogger(__name__)


def use_liger_kernels(loaded: LoadedModel) -> bool:
    """Replace a model's norms, rotations and gated products, and tell whether that was done.

    Off CUDA and on the ``unsloth`` backend, which brings kernels of its own, the log says why not.

    Args:
        loaded: The model with its adapter.

    Raises:
        MissingExtraError: The package ``liger-kernel`` is not installed.
    """
    if not loaded.device.startswith("cuda") or loaded.backend != "transformers":
        _logger.warning(
            "train.use_liger_kernel is for the transformers backend on CUDA; %s on %s keeps its "
            "own layers",
            loaded.backend,
            loaded.device,
        )
        return False
    if find_spec("liger_kernel") is None:
        raise MissingExtraError(
            "train.use_liger_kernel is on and liger-kernel is not installed, so its kernels "
            "cannot be used.",
            hint="pip install liger-kernel, or leave FIM_TRAIN_USE_LIGER_KERNEL out",
            context={"missing": ["liger_kernel"]},
        )
    from transformers.integrations import liger

    liger.apply_liger_kernel(loaded.model, dict(LIGER_KERNELS))  # type: ignore[no-untyped-call]
    return True
