"""Tokenizers that hold the control tokens of families whose own tokenizers cannot be shipped.

Texts are encoded byte by byte or letter by letter; what counts are the control tokens, their ids
where they are published, and how the family's tokenizer treats a leading space.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from fim.data import TokenizerView
from fim.formats.sentinel_families import (
    ADDED_SENTINELS,
    CODEGEMMA_SENTINELS,
    CODELLAMA_SENTINELS,
    CODESTRAL_SENTINELS,
    DEEPSEEK_SENTINELS,
    GRANITE4_SENTINELS,
    GRANITE_SENTINELS,
    SEED_CODER_SENTINELS,
    STARCODER2_SENTINELS,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    from fim.formats.families import SentinelTokens

SPACE = "\u2581"
BYTE_LEVEL: tuple[SentinelTokens, ...] = (
    STARCODER2_SENTINELS,
    DEEPSEEK_SENTINELS,
    GRANITE_SENTINELS,
    GRANITE4_SENTINELS,
    SEED_CODER_SENTINELS,
    ADDED_SENTINELS,
)
SENTENCE_PIECE: tuple[SentinelTokens, ...] = (
    CODELLAMA_SENTINELS,
    CODESTRAL_SENTINELS,
    CODEGEMMA_SENTINELS,
)
FAMILIES: Mapping[str, SentinelTokens] = {
    tokens.family: tokens for tokens in (*BYTE_LEVEL, *SENTENCE_PIECE)
}


@cache
def family_view(family: str) -> TokenizerView:
    """Return the text side of a family's stand-in tokenizer."""
    return TokenizerView(family_tokenizer(family))


def family_tokenizer(family: str) -> PreTrainedTokenizerFast:
    """Return a family's stand-in tokenizer."""
    from transformers import PreTrainedTokenizerFast

    tokens = FAMILIES[family]
    backend = byte_level() if tokens in BYTE_LEVEL else _sentence_piece(tokens)
    for token, token_id in tokens.ids.items():
        _add(backend, token, token_id)
    return PreTrainedTokenizerFast(tokenizer_object=backend)


def _add(backend: Tokenizer, token: str, token_id: int | None) -> None:
    from tokenizers import AddedToken

    if token_id is not None:
        missing = token_id - backend.get_vocab_size()
        if missing > 0:
            backend.add_tokens([f"filler-{token_id}-{number}" for number in range(missing)])
    backend.add_tokens([AddedToken(token, special=False, normalized=False)])


def byte_level() -> Tokenizer:
    """Return a tokenizer over 256 bytes without any control token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={each: at for at, each in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    return backend


def _sentence_piece(tokens: SentinelTokens) -> Tokenizer:
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

    words = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words += [SPACE, *map(chr, range(33, 127)), f"{SPACE}d", f"{SPACE}a"]
    vocabulary = {word: at for at, word in enumerate(words)}
    backend = Tokenizer(
        models.BPE(
            vocab=vocabulary,
            merges=[(SPACE, "d"), (SPACE, "a")],
            unk_token="<unk>",
            byte_fallback=True,
            fuse_unk=True,
        )
    )
    steps = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    if tokens is CODESTRAL_SENTINELS:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        backend.decoder = decoders.Sequence(
            [decoders.ByteFallback(), decoders.Metaspace(prepend_scheme="first", split=False)]
        )
        return backend
    replace = normalizers.Replace(" ", SPACE)
    if tokens.begins_with_space:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), replace])
        steps.append(decoders.Strip(" ", 1, 0))
    else:
        backend.normalizer = replace
    backend.decoder = decoders.Sequence(steps)
    return backend
