"""A view of a tokenizer in which no text ever becomes a control token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.errors import FormatUnsupportedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase


class TokenizerView:
    """The text side of a transformers tokenizer; implements ``TextTokenizer``.

    Text is encoded by the same model, normaliser and pre-tokeniser, but without the added tokens
    and the post-processor: the literal text of a control token in source code stays plain text.
    (``split_special_tokens`` does not do that: many tokenizers list their sentinel tokens as not
    special.) Decoding shows control tokens literally.

    Args:
        tokenizer: A fast tokenizer of transformers.

    Raises:
        FormatUnsupportedError: The tokenizer has no fast backend, so text could not be kept apart
            from control tokens.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        backend: Tokenizer | None = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise FormatUnsupportedError(
                f"{type(tokenizer).__name__} has no fast backend, so control tokens in user code "
                "could not be kept from acting as control tokens",
                hint="use a base model with a tokenizer.json",
            )
        self._full = backend
        self._text = _without_added_tokens(backend)
        self._control_ids = {
            added.content: token_id
            for token_id, added in backend.get_added_tokens_decoder().items()
        }

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids of all added tokens; none of them is ever text."""
        return frozenset(self._control_ids.values())

    def control_token_id(self, token: str) -> int | None:
        """Return the id of an added token, or None when the tokenizer has no such token."""
        return self._control_ids.get(token)

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text, without special tokens."""
        return self._text.encode(text, add_special_tokens=False).ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, control tokens included literally and spaces untouched."""
        return self._full.decode(list(ids), skip_special_tokens=False)


def _without_added_tokens(backend: Tokenizer) -> Tokenizer:
    from tokenizers import Tokenizer

    text_only = Tokenizer(backend.model)
    if backend.normalizer is not None:
        text_only.normalizer = backend.normalizer
    if backend.pre_tokenizer is not None:
        text_only.pre_tokenizer = backend.pre_tokenizer
    if backend.decoder is not None:
        text_only.decoder = backend.decoder
    return text_only
