"""A loss or a gradient that is no number: where it comes from, and what helps."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.errors import NonFiniteLossError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import nn

_LOWER = 0.1


@dataclass(frozen=True, slots=True)
class BadFigure:
    """A figure of a step that is no number.

    Args:
        what: Its name.
        value: Its value.
        step: The step, from 1.
        learning_rate: The run's rate at its highest.
    """

    what: str
    value: float
    step: int
    learning_rate: float


def not_finite(
    figure: BadFigure, *, fault: str, checkpoint: Path | None, resume_command: str
) -> NonFiniteLossError:
    """Return the error for a figure that is no number, with a command that can be run.

    Args:
        figure: The figure.
        fault: What is wrong with the base itself; empty where nothing is known to be.
        checkpoint: The newest whole checkpoint; None where there is none to go on from.
        resume_command: What the user types to go on.
    """
    said = f"The {figure.what} of step {figure.step} is {figure.value}"
    context: dict[str, object] = {
        "step": figure.step,
        "what": figure.what,
        "value": str(figure.value),
        "fault": fault,
        "checkpoint": None if checkpoint is None else str(checkpoint),
    }
    if fault:
        return NonFiniteLossError(
            f"{said}, and it is the base that gives it, not the training: {fault}. Nothing that is "
            "trained on such a base can be used.",
            hint="copy or fetch the base again, or take another one with --model NAME; where the "
            "base is sound elsewhere: --set model.dtype=float32",
            context=context,
        )
    rate = f"--set train.learning_rate={figure.learning_rate * _LOWER:g}"
    if checkpoint is not None and resume_command:
        hint = f"{resume_command} {rate}"
    else:
        hint = f"run the same command again with {rate}, or with --set model.dtype=float32"
    return NonFiniteLossError(
        f"{said}; another step would destroy the adapter. The weights are those of the step "
        "before.",
        hint=hint,
        context=context,
    )


def base_fault(model: nn.Module, run: Callable[[], object] | None) -> str:
    """Return what is wrong with a base itself: its weights, or its layers on a row; empty if none.

    Args:
        model: The model; an adapter on it is switched off meanwhile.
        run: Computes the row's loss once more; None to look at the weights alone.
    """
    import torch

    frozen = [each for each in model.parameters() if not each.requires_grad]
    bad = [
        (name, int((~torch.isfinite(weight)).sum()))
        for name, weight in model.named_parameters()
        if not (frozen and weight.requires_grad)
        and weight.is_floating_point()
        and not bool(torch.isfinite(weight).all())
    ]
    if bad:
        name, count = bad[0]
        more = f", as do {len(bad) - 1} other weights" if len(bad) > 1 else ""
        return f"the weight {_plain(name)} holds {count:,} values that are no finite number{more}"
    if run is None:
        return ""
    first = _first_bad_layer(model, run)
    if first is None:
        return ""
    return f"on this row its layer {_plain(first)} is the first whose output is no number"


def _first_bad_layer(model: nn.Module, run: Callable[[], object]) -> str | None:
    """Return the first layer whose output holds values that are no number, if there is one."""
    import torch
    from peft import PeftModel

    found: list[str] = []

    def look(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(module: nn.Module, given: object, output: object) -> None:
            is_bad = isinstance(output, torch.Tensor) and not bool(torch.isfinite(output).all())
            if is_bad and not found:
                found.append(name)

        return hook

    with ExitStack() as stack:
        for name, module in model.named_modules():
            if not any(True for _ in module.children()):
                stack.callback(module.register_forward_hook(look(name)).remove)
        if isinstance(model, PeftModel):
            stack.enter_context(model.disable_adapter())
        stack.enter_context(torch.no_grad())
        run()
    return next(iter(found), None)


def _plain(name: str) -> str:
    """Return the name that a part has in the base, without those of the adapter's wrappers."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "")
