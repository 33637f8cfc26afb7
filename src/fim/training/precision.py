"""Number types and optimizers by hardware."""

from __future__ import annotations

import logging
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import torch

    from fim.model import LoadedModel

_GPU_ONLY_MARKS = ("8bit", "paged")
CPU_OPTIMIZER = "adamw_torch"

_logger = logging.getLogger(__name__)


def choose_optimizer(wanted: str, device: str) -> str:
    """Return the optimizer that runs on a device, telling the log about a replacement.

    Args:
        wanted: A transformers optimizer name.
        device: As torch names it.
    """
    if device.startswith("cuda") or not any(mark in wanted for mark in _GPU_ONLY_MARKS):
        return wanted
    _logger.warning(
        "train.optim %s needs a GPU; %s takes its place on %s", wanted, CPU_OPTIMIZER, device
    )
    return CPU_OPTIMIZER


def autocast_for(loaded: LoadedModel) -> Callable[[], AbstractContextManager[None]]:
    """Return a maker of the context that a loss is computed in.

    With bfloat16 weights and float32 adapters the adapters compute in bfloat16 as well; the
    ``unsloth`` backend and float16 with its scaled gradients do this on their own.
    """
    if loaded.backend != "transformers" or loaded.dtype != "bfloat16":
        return nullcontext
    import torch

    kind = loaded.device.split(":", maxsplit=1)[0]
    return partial(torch.autocast, kind, torch.bfloat16)


@contextmanager
def activations_uncast(loaded: LoadedModel) -> Iterator[None]:
    """Keep PEFT from widening activations to the adapters' float32 where autocast is at work.

    Autocast would narrow them again at once: on two cores this is a sixth of a training step.
    """
    from peft import PeftModel
    from peft.helpers import disable_input_dtype_casting

    is_wanted = loaded.backend == "transformers" and loaded.dtype == "bfloat16"
    is_peft = isinstance(loaded.model, PeftModel)
    with disable_input_dtype_casting(loaded.model, active=is_wanted and is_peft):
        yield


def restore_dtypes(parameters: Sequence[torch.Tensor], dtypes: Sequence[torch.dtype]) -> None:
    """Undo TRL's rounding of adapters on 4-bit bases to bfloat16, which swallows small updates."""
    for parameter, dtype in zip(parameters, dtypes, strict=True):
        parameter.data = parameter.data.to(dtype)


def checkpointing_off() -> dict[str, bool]:
    """Return the setting, renamed in transformers 5.18, that leaves checkpointing to the model."""
    from dataclasses import fields

    from trl import SFTConfig  # type: ignore[attr-defined]

    names = {each.name for each in fields(SFTConfig)}
    new, old = "activation_checkpointing", "gradient_checkpointing"
    return {new if new in names else old: False}
