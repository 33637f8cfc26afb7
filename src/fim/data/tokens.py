"""A view of a tokenizer in which no text ever becomes a control token."""

from __future__ import annotations

import json
from itertools import groupby
from typing import TYPE_CHECKING

from fim.errors import FormatUnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase


_SPACE_MARK = "\u2581"


class TokenizerView:
    """The text side of a transformers tokenizer; implements ``TextTokenizer``.

    Text is encoded by the same model, normaliser and pre-tokeniser, but without the added tokens
    and the post-processor: the literal text of a control token in source code stays plain text.
    (``split_special_tokens`` does not do that: many tokenizers list their sentinel tokens as not
    special.) Decoding shows control tokens literally. The space that SentencePiece puts before the
    first word of a text is left out in both directions, since the pieces of a row are encoded
    apart; a format whose family wants it there adds it.

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
        text_only = _without_added_tokens(backend)
        self._has_leading_space = _adds_leading_space(text_only)
        self._text = _without_leading_space(text_only) if self._has_leading_space else text_only
        self._control_ids = {
            added.content: token_id
            for token_id, added in backend.get_added_tokens_decoder().items()
        }
        self._control_texts = {token_id: text for text, token_id in self._control_ids.items()}

    @property
    def control_ids(self) -> frozenset[int]:
        """Ids of all added tokens; none of them is ever text."""
        return frozenset(self._control_ids.values())

    def control_token_id(self, token: str) -> int | None:
        """Return the id of an added token, or None when the tokenizer has no such token."""
        return self._control_ids.get(token)

    def encode(self, text: str) -> list[int]:
        """Return the ids of plain text, without special tokens."""
        encodings = self._text.encode_batch_fast([text], add_special_tokens=False)
        return list(encodings[0].ids)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, control tokens included literally and spaces untouched."""
        if not self._has_leading_space:
            return self._full.decode(list(ids), skip_special_tokens=False)
        return "".join(self._decode_pieces(ids))

    def token_start(self, text: str, position: int) -> int:
        """Return where the token begins that reaches across a position, or the position itself."""
        for start, end in self._text.encode(text, add_special_tokens=False).offsets:
            if end > position:
                return min(start, position)
        return position

    def spellings(self) -> dict[int, bytes]:
        """Return the bytes of every token of text; empty unless the vocabulary is of bytes."""
        from tokenizers.decoders import ByteLevel

        if not isinstance(self._text.decoder, ByteLevel):
            return {}
        byte_of = {char: byte for byte, char in _byte_characters().items()}
        return {
            token_id: bytes(byte_of[char] for char in token)
            for token, token_id in self._text.get_vocab(with_added_tokens=False).items()
            if token_id not in self._control_texts and byte_of.keys() >= set(token)
        }

    def _decode_pieces(self, ids: Sequence[int]) -> Iterator[str]:
        for is_control, run in groupby(ids, self._control_texts.__contains__):
            if is_control:
                yield from (self._control_texts[token_id] for token_id in run)
            else:
                yield self._text.decode(list(run), skip_special_tokens=False)


def _byte_characters() -> dict[int, str]:
    """Return the character that a byte-level vocabulary writes for each byte.

    Source: GPT-2's ``bytes_to_unicode``.
    """
    shown = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAC + 1), *range(0xAE, 0xFF + 1)]
    others = [byte for byte in range(256) if byte not in set(shown)]
    moved = {byte: chr(256 + place) for place, byte in enumerate(others)}
    return {byte: chr(byte) for byte in shown} | moved


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


def _adds_leading_space(text_only: Tokenizer) -> bool:
    tokens = text_only.encode("x", add_special_tokens=False).tokens
    return bool(tokens) and tokens[0].startswith(_SPACE_MARK)


def _without_leading_space(text_only: Tokenizer) -> Tokenizer:
    from tokenizers import Tokenizer

    state = json.loads(text_only.to_str())
    for part in ("normalizer", "pre_tokenizer", "decoder"):
        state[part] = _without_space_steps(state[part])
    return Tokenizer.from_str(json.dumps(state))


def _without_space_steps(step: dict[str, object] | None) -> dict[str, object] | None:
    if step is None:
        return None
    if step["type"] in ("Prepend", "Strip"):
        return None
    if step["type"] == "Metaspace":
        return {**step, "prepend_scheme": "never"}
    for name in ("normalizers", "pretokenizers", "decoders"):
        inner = step.get(name)
        if isinstance(inner, list):
            kept = [each for each in map(_without_space_steps, inner) if each is not None]
            return {**step, name: kept}
    return step
