"""Control tokens of the families that were trained to fill holes, and of those taught to.

An id of None means: the tokenizer must have the token as one id, whatever it is.

Source:
    The README, technical report or tokenizer configuration of each family; the layouts that
    differ between tools follow the family's own publication.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from fim.formats.families import (
    PLAIN_FAMILIES,
    QWEN_SENTINELS,
    SMOLLM2_SENTINELS,
    ContextStyle,
    PlainTokens,
    SentinelTokens,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

BAR = "\uff5c"
BLOCK = "\u2581"
ADDED_FAMILY = "added"
ADDED_TOKENS: tuple[str, ...] = (
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
)


def _any_id(*tokens: str, **known: int) -> Mapping[str, int | None]:
    return MappingProxyType(dict.fromkeys(tokens) | known)


ADDED_SENTINELS = SentinelTokens(
    family=ADDED_FAMILY,
    prefix="<|fim_prefix|>",
    suffix="<|fim_suffix|>",
    middle="<|fim_middle|>",
    file_separator="<|file_sep|>",
    end="<|endoftext|>",
    pad="<|fim_pad|>",
    other_stops=ADDED_TOKENS[1:],
    ids=_any_id(*ADDED_TOKENS),
    repo_name="<|repo_name|>",
)

STARCODER2_SENTINELS = SentinelTokens(
    family="starcoder2",
    prefix="<fim_prefix>",
    suffix="<fim_suffix>",
    middle="<fim_middle>",
    file_separator="<file_sep>",
    end="<|endoftext|>",
    pad="<fim_pad>",
    other_stops=("<file_sep>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<repo_name>"),
    ids=_any_id(
        "<|endoftext|>",
        "<fim_prefix>",
        "<fim_middle>",
        "<fim_suffix>",
        "<fim_pad>",
        "<repo_name>",
        "<file_sep>",
    ),
    repo_name="<repo_name>",
    context=ContextStyle.PATH_IN_HOLE,
)

CODELLAMA_SENTINELS = SentinelTokens(
    family="codellama",
    prefix=f"{BLOCK}<PRE>",
    suffix=f"{BLOCK}<SUF>",
    middle=f"{BLOCK}<MID>",
    file_separator=None,
    end=f"{BLOCK}<EOT>",
    pad="</s>",
    other_stops=("</s>", f"{BLOCK}<PRE>", f"{BLOCK}<SUF>", f"{BLOCK}<MID>"),
    ids=MappingProxyType(
        {
            "<s>": 1,
            "</s>": 2,
            f"{BLOCK}<PRE>": 32007,
            f"{BLOCK}<SUF>": 32008,
            f"{BLOCK}<MID>": 32009,
            f"{BLOCK}<EOT>": 32010,
        }
    ),
    bos="<s>",
    context=ContextStyle.NONE,
    begins_with_space=True,
)

_DEEPSEEK_BEGIN = f"<{BAR}fim{BLOCK}begin{BAR}>"
_DEEPSEEK_HOLE = f"<{BAR}fim{BLOCK}hole{BAR}>"
_DEEPSEEK_END = f"<{BAR}fim{BLOCK}end{BAR}>"
_DEEPSEEK_BOS = f"<{BAR}begin{BLOCK}of{BLOCK}sentence{BAR}>"
_DEEPSEEK_EOS = f"<{BAR}end{BLOCK}of{BLOCK}sentence{BAR}>"
DEEPSEEK_SENTINELS = SentinelTokens(
    family="deepseek-coder",
    prefix=_DEEPSEEK_BEGIN,
    suffix=_DEEPSEEK_HOLE,
    middle=_DEEPSEEK_END,
    file_separator=None,
    end=_DEEPSEEK_EOS,
    pad=_DEEPSEEK_BOS,
    other_stops=(_DEEPSEEK_BEGIN, _DEEPSEEK_HOLE, _DEEPSEEK_END),
    ids=_any_id(_DEEPSEEK_BEGIN, _DEEPSEEK_HOLE, _DEEPSEEK_END, _DEEPSEEK_BOS, _DEEPSEEK_EOS),
    bos=_DEEPSEEK_BOS,
    context=ContextStyle.HASH_HEADER,
)

CODESTRAL_SENTINELS = SentinelTokens(
    family="codestral",
    prefix="[PREFIX]",
    suffix="[SUFFIX]",
    middle=None,
    file_separator=None,
    end="</s>",
    pad="<unk>",
    other_stops=("[PREFIX]", "[SUFFIX]"),
    ids=_any_id("<s>", "</s>", "<unk>", "[PREFIX]", "[SUFFIX]"),
    bos="<s>",
    context=ContextStyle.PLUS_HEADER,
    begins_with_space=True,
)

CODEGEMMA_SENTINELS = SentinelTokens(
    family="codegemma",
    prefix="<|fim_prefix|>",
    suffix="<|fim_suffix|>",
    middle="<|fim_middle|>",
    file_separator="<|file_separator|>",
    end="<eos>",
    pad="<pad>",
    other_stops=(
        "<|file_separator|>",
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        "<end_of_turn>",
    ),
    ids=_any_id(
        "<bos>",
        "<eos>",
        "<pad>",
        "<|fim_prefix|>",
        "<|fim_suffix|>",
        "<|fim_middle|>",
        "<|file_separator|>",
        "<end_of_turn>",
    ),
    bos="<bos>",
    context=ContextStyle.JOINED,
)

GRANITE_SENTINELS = SentinelTokens(
    family="granite",
    prefix="<fim_prefix>",
    suffix="<fim_suffix>",
    middle="<fim_middle>",
    file_separator="<filename>",
    end="<|endoftext|>",
    pad="<fim_pad>",
    other_stops=("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<filename>", "<reponame>"),
    ids=_any_id(
        "<|endoftext|>",
        "<fim_prefix>",
        "<fim_middle>",
        "<fim_suffix>",
        "<fim_pad>",
        "<filename>",
        "<reponame>",
    ),
    repo_name="<reponame>",
)

GRANITE4_SENTINELS = SentinelTokens(
    family="granite4",
    prefix="<|fim_prefix|>",
    suffix="<|fim_suffix|>",
    middle="<|fim_middle|>",
    file_separator=None,
    end="<|end_of_text|>",
    pad="<|fim_pad|>",
    other_stops=("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ids=_any_id(
        "<|end_of_text|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>"
    ),
    context=ContextStyle.NONE,
)

_SEED_BOS = f"<[begin{BLOCK}of{BLOCK}sentence]>"
_SEED_EOS = f"<[end{BLOCK}of{BLOCK}sentence]>"
_SEED_PAD = f"<[PAD{BLOCK}TOKEN]>"
SEED_CODER_SENTINELS = SentinelTokens(
    family="seed-coder",
    prefix="<[fim-prefix]>",
    suffix="<[fim-suffix]>",
    middle="<[fim-middle]>",
    file_separator=None,
    end=_SEED_EOS,
    pad=_SEED_PAD,
    other_stops=("<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>", _SEED_BOS),
    ids=_any_id(
        _SEED_BOS, _SEED_EOS, _SEED_PAD, "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>"
    ),
    bos=_SEED_BOS,
    context=ContextStyle.NONE,
)

PSM_FAMILIES: tuple[SentinelTokens, ...] = (
    QWEN_SENTINELS,
    STARCODER2_SENTINELS,
    CODELLAMA_SENTINELS,
    DEEPSEEK_SENTINELS,
    CODEGEMMA_SENTINELS,
    GRANITE_SENTINELS,
    GRANITE4_SENTINELS,
    ADDED_SENTINELS,
    SMOLLM2_SENTINELS,
)
SPM_FAMILIES = (QWEN_SENTINELS, SEED_CODER_SENTINELS, ADDED_SENTINELS, SMOLLM2_SENTINELS)
SPM2_FAMILIES = (
    QWEN_SENTINELS,
    STARCODER2_SENTINELS,
    CODELLAMA_SENTINELS,
    ADDED_SENTINELS,
    SMOLLM2_SENTINELS,
)
CODESTRAL_FAMILIES = (QWEN_SENTINELS, CODESTRAL_SENTINELS, ADDED_SENTINELS, SMOLLM2_SENTINELS)
REPO_FAMILIES = (QWEN_SENTINELS, STARCODER2_SENTINELS, GRANITE_SENTINELS, ADDED_SENTINELS)
INFILL_FAMILIES = (QWEN_SENTINELS, ADDED_SENTINELS)


def _plain(tokens: SentinelTokens, document_end: str) -> PlainTokens:
    return PlainTokens(
        family=tokens.family,
        document_end=document_end,
        other_stops=(),
        pad=tokens.pad if tokens.pad != document_end else tokens.end,
        ids=tokens.ids,
        bos=tokens.bos,
    )


ALL_PLAIN_FAMILIES: tuple[PlainTokens, ...] = (
    *PLAIN_FAMILIES,
    _plain(STARCODER2_SENTINELS, "<|endoftext|>"),
    _plain(CODELLAMA_SENTINELS, "</s>"),
    _plain(DEEPSEEK_SENTINELS, _DEEPSEEK_EOS),
    _plain(CODESTRAL_SENTINELS, "</s>"),
    _plain(CODEGEMMA_SENTINELS, "<eos>"),
    _plain(GRANITE4_SENTINELS, "<|end_of_text|>"),
    _plain(SEED_CODER_SENTINELS, _SEED_EOS),
    _plain(ADDED_SENTINELS, "<|endoftext|>"),
)
