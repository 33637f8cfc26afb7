"""What a training run did, and the errors that end one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from fim.errors import InterruptedRunError, NotEnoughMemoryError

if TYPE_CHECKING:
    from fim.config import TrainSettings


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training run did.

    Args:
        steps: Optimizer steps of the run, earlier sessions included.
        seconds: Wall time of this session.
        train_loss: Mean loss of the run's steps, earlier sessions included.
        eval_loss: Held-out negative log-likelihood per token of middles and end tokens, of the
            weights that were kept; None without held-out rows.
        holes_per_second: Rows per second of stepping.
        tokens_per_second: Tokens without padding per second of stepping.
        supervised_tokens_per_second: Trained tokens per second of stepping.
        peak_memory_mib: Most memory in use, of the GPU or of the process.
        adapter: Folder of the adapter, or of the whole model after full fine-tuning.
        packing: How rows were packed: ``none``, ``bfd`` or ``tree``.
        token_gain: Ids of the rows for each id that was computed.
        kept_step: Step whose weights were kept: the last, or the best by ``best_metric``.
        best_metric: Figure that chose them; ``none`` for the last step.
        has_stopped_early: A held-out figure ended the run.
        held_out: Every held-out figure of the weights that were kept.
    """

    steps: int
    seconds: float
    train_loss: float
    eval_loss: float | None
    holes_per_second: float
    tokens_per_second: float
    supervised_tokens_per_second: float
    peak_memory_mib: float
    adapter: Path
    packing: str = "none"
    token_gain: float = 1.0
    kept_step: int = 0
    best_metric: str = "none"
    has_stopped_early: bool = False
    held_out: Mapping[str, float] = field(default_factory=dict)


def interrupted(run: Path, checkpoint: Path | None, resume_command: str) -> InterruptedRunError:
    """Return the error for a run that the user stopped.

    Args:
        run: Its folder.
        checkpoint: The newest whole checkpoint; None where there is none.
        resume_command: What the user types to go on.
    """
    if checkpoint is None:
        return InterruptedRunError(
            "Training was stopped before its first checkpoint; nothing is left to resume.",
            context={"run": str(run), "checkpoint": None},
        )
    return InterruptedRunError(
        f"Training was stopped; its state is in {checkpoint}.",
        hint=resume_command,
        context={"run": str(run), "checkpoint": str(checkpoint)},
    )


def out_of_memory(error: Exception, settings: TrainSettings, device: str) -> NotEnoughMemoryError:
    """Return the error for a training step that does not fit a device."""
    return NotEnoughMemoryError(
        f"A training step of {settings.per_device_train_batch_size} rows does not fit the "
        f"memory of {device}: {str(error).splitlines()[0]}",
        hint="Halve train.per_device_train_batch_size and double "
        "train.gradient_accumulation_steps: same steps, half the memory.",
        context={"device": device},
    )
