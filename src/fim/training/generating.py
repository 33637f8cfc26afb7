"""A model in the middle of training, made ready to generate and given back as it was."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from fim.training.loss import base_model
from fim.training.precision import autocast_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

    from fim.model import LoadedModel


@contextmanager
def ready_to_generate(loaded: LoadedModel, *, attention: str | None) -> Iterator[None]:
    """Switch a model to evaluation, with the attention and number type it generates in.

    Afterwards every module is in the mode it was in, checkpointing and attention are those of
    training, and no random generator has moved: a run that measures takes the same steps as one
    that does not.

    Args:
        loaded: The model, with or without an adapter.
        attention: Name of the attention that the model was loaded with.
    """
    import torch

    from fim.model.unsloth_backend import generating

    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        stack.enter_context(_evaluating(loaded.model))
        stack.enter_context(_attending(base_model(loaded.model), attention))
        if loaded.backend == "unsloth":
            stack.enter_context(generating(loaded.model))
        stack.enter_context(autocast_for(loaded)())
        yield


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode for a while."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, was_training in modes:
            module.training = was_training


@contextmanager
def _attending(base: nn.Module, attention: str | None) -> Iterator[None]:
    """Give a model another attention for a while."""
    config = base.config
    kept = config._attn_implementation  # type: ignore[union-attr]  # noqa: SLF001
    config._attn_implementation = attention  # type: ignore[union-attr]  # noqa: SLF001
    try:
        yield
    finally:
        config._attn_implementation = kept  # type: ignore[union-attr]  # noqa: SLF001
