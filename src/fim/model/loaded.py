"""A model in memory, with what is known about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.model.marks import NO_MARKS, BaseMarks

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model, its tokenizer and how they were loaded.

    Args:
        model: The model, or its PEFT wrapper once it has an adapter.
        tokenizer: The tokenizer that belongs to it.
        backend: ``unsloth`` or ``transformers``.
        dtype: Number type of weights and computation.
        device: Where the model lies, as torch names it.
        name: Name of the base model as the user gave it.
        revision: Commit of the base on the hub, when known.
        is_quantised: The base is held in 4 bits.
        is_full: Every weight is trained; there is no adapter.
        added_token_ids: Ids that the base did not have; they are trained with every adapter.
        marks: Hashes that tell the base's weights from others of their shape.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    backend: str
    dtype: str
    device: str
    name: str
    revision: str | None = None
    is_quantised: bool = False
    is_full: bool = False
    added_token_ids: tuple[int, ...] = ()
    marks: BaseMarks = NO_MARKS
