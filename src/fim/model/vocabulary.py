"""A tokenizer and an embedding, compared when they meet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PretrainedConfig, PreTrainedTokenizerBase


def embedding_rows(config: PretrainedConfig) -> int | None:
    """Return the rows of a model's embedding, or None where its configuration does not tell."""
    return getattr(config.get_text_config(decoder=True), "vocab_size", None)


def text_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the ids that a tokenizer makes of text, or that end, start and pad a row.

    Other added tokens are never made of text: a tokenizer may list some that its model lacks, such
    as those of images.
    """
    added = tokenizer.get_added_vocab()
    ids = {number for token, number in tokenizer.get_vocab().items() if token not in added}
    roles = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id)
    return ids | {number for number in roles if isinstance(number, int)}


def check_ids(ids: Iterable[int], rows: int | None, *, name: str) -> None:
    """Refuse ids that a model has no embedding row for.

    Args:
        ids: What the tokenizer can produce.
        rows: Rows of the embedding; None where they are unknown.
        name: Name of the model.

    Raises:
        ModelError: The largest id is too large.
    """
    largest = max(ids, default=-1)
    if rows is None or largest < rows:
        return
    raise ModelError(
        f"The tokenizer of {name} goes up to id {largest:,}, and the model's embedding has "
        f"{rows:,} rows: a text with such an id would stop training or a completion half-way. "
        "The tokenizer belongs to another model.",
        hint="Put the tokenizer files of this very model into the folder (tokenizer.json, "
        "tokenizer_config.json), or name the model that the tokenizer belongs to: --model NAME",
        context={"model": name, "largest_id": largest, "embedding_rows": rows},
    )
