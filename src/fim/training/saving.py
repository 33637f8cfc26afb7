"""Trained weights on disk: an adapter, or after full fine-tuning the whole model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.formats.record import write_record
from fim.model.adapter import save_adapter, save_model
from fim.model.hardware import torch_dtype
from fim.training.checkpoints import draft_folder, replace_folder
from fim.training.processes import is_main, wait_for_all

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from fim.formats import FormatRecord
    from fim.model import LoadedModel


def save_weights(loaded: LoadedModel, folder: Path, state: dict[str, Tensor] | None = None) -> None:
    """Write what is trained, with the record of its base, into a folder that may be missing.

    Args:
        loaded: The model.
        folder: Where to.
        state: Its weights, where they are spread over processes; None for its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if loaded.is_full:
        save_model(loaded, folder, state)
    else:
        save_adapter(loaded, folder, state)


def load_weights(loaded: LoadedModel, folder: Path) -> None:
    """Read what :func:`save_weights` wrote back into the model."""
    if not loaded.is_full:
        loaded.model.load_adapter(str(folder), "default", is_trainable=True)
        return
    kept = type(loaded.model).from_pretrained(folder, dtype=loaded.model.dtype)
    loaded.model.load_state_dict(kept.state_dict())


def save_result(
    loaded: LoadedModel,
    target: Path,
    record: FormatRecord,
    state: dict[str, Tensor] | None = None,
) -> Path:
    """Write the weights with their format and tokenizer, whole or not at all.

    A model that was trained whole takes the number type that it computes in first, in memory too,
    so that what is measured afterwards is what lies on disk.

    Raises:
        RunFolderError: The file system refused.
    """
    if loaded.is_full and state is None:
        for weight in loaded.model.parameters():
            weight.data = weight.data.to(torch_dtype(loaded.dtype))
    with draft_folder(target) as draft:
        if is_main():
            made = draft / target.name
            save_weights(loaded, made, state)
            write_record(made, record)
            loaded.tokenizer.save_pretrained(made)
            replace_folder(made, target)
        wait_for_all()
    return target
