"""Trackers: whether the one that is wanted is there, and where its files go."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from fim.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from transformers import TrainerCallback

_PACKAGES: Mapping[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboard", "tensorboardX"),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow",),
}


def check_tracker(name: str) -> None:
    """Refuse a tracker that is not installed, before anything is loaded.

    Args:
        name: ``train.report_to``; ``none`` needs nothing.

    Raises:
        MissingExtraError: Its package is missing.
    """
    packages = _PACKAGES.get(name, ())
    if packages and not any(find_spec(package) for package in packages):
        raise MissingExtraError(
            f"train.report_to is {name} and its package is not installed, so nothing would be "
            "tracked.",
            hint=f"pip install {packages[0]}, or FIM_TRAIN_REPORT_TO=none",
            context={"tracker": name},
        )


def keep_events_in(folder: Path, callbacks: Iterable[TrainerCallback]) -> None:
    """Let TensorBoard write into a folder, unless its own variable names another one.

    Args:
        folder: Where its event files go.
        callbacks: The callbacks of a trainer.
    """
    from transformers.integrations import TensorBoardCallback  # type: ignore[attr-defined]

    for callback in callbacks:
        if isinstance(callback, TensorBoardCallback) and callback.logging_dir is None:
            callback.logging_dir = str(folder)
