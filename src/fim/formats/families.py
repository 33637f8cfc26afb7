"""Control tokens of the model families, as data.

The ids are checked against the tokenizer before a format is used, so a wrong row here is an error
at start-up and never a silently broken prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

QWEN_TOKEN_IDS: Mapping[str, int] = MappingProxyType(
    {
        "<|endoftext|>": 151643,
        "<|im_start|>": 151644,
        "<|im_end|>": 151645,
        "<|fim_prefix|>": 151659,
        "<|fim_middle|>": 151660,
        "<|fim_suffix|>": 151661,
        "<|fim_pad|>": 151662,
        "<|repo_name|>": 151663,
        "<|file_sep|>": 151664,
        "<think>": 151667,
        "</think>": 151668,
    }
)

SMOLLM2_TOKEN_IDS: Mapping[str, int] = MappingProxyType(
    {
        "<|endoftext|>": 0,
        "<|im_start|>": 1,
        "<|im_end|>": 2,
        "<repo_name>": 3,
        "<reponame>": 4,
        "<file_sep>": 5,
        "<filename>": 6,
        "<gh_stars>": 7,
        "<issue_start>": 8,
        "<issue_comment>": 9,
        "<issue_closed>": 10,
        "<jupyter_start>": 11,
        "<jupyter_text>": 12,
        "<jupyter_code>": 13,
        "<jupyter_output>": 14,
        "<jupyter_script>": 15,
        "<empty_output>": 16,
    }
)


class ContextStyle(StrEnum):
    """How a family shows other files; see ``fim.formats.surroundings``."""

    SEPARATED = "separated"
    PATH_IN_HOLE = "path in hole"
    JOINED = "joined"
    HASH_HEADER = "hash header"
    PLUS_HEADER = "plus header"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class SentinelTokens:
    """Which control token plays which part in a sentinel format of one family.

    Args:
        family: Name of the family.
        prefix: Token before the prefix.
        suffix: Token before the suffix.
        middle: Token after which the middle follows; None for a family that has none.
        file_separator: Token between files; None for a family that has none.
        end: Token that is trained as the end of the middle.
        pad: Token that fills batches.
        other_stops: Tokens that end a generation besides ``end``; none of them is ever trained.
        ids: Every token with its id; None where any id will do.
        bos: Token that every prompt of the family begins with; None for a family without one.
        repo_name: Token before the name of the repository.
        context: How other files are shown.
        begins_with_space: The family's own tokenizer puts a space before the text that follows the
            prefix token, as SentencePiece does with the first word of a text.
    """

    family: str
    prefix: str
    suffix: str
    middle: str | None
    file_separator: str | None
    end: str
    pad: str
    other_stops: tuple[str, ...]
    ids: Mapping[str, int | None]
    bos: str | None = None
    repo_name: str | None = None
    context: ContextStyle = ContextStyle.SEPARATED
    begins_with_space: bool = False


@dataclass(frozen=True, slots=True)
class ChatTokens:
    """Which control token plays which part in a chat format of one family.

    ``think`` is the pair of tokens around the empty think block that thinking models expect before
    an answer; None for families without thinking.
    """

    family: str
    turn_start: str
    turn_end: str
    document_end: str
    think: tuple[str, str] | None
    ids: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class PlainTokens:
    """Control tokens of plain left-to-right text in one family.

    ``bos`` begins every prompt; without one, only an empty prompt begins with ``document_end``.
    """

    family: str
    document_end: str
    other_stops: tuple[str, ...]
    pad: str
    ids: Mapping[str, int | None]
    bos: str | None = None


QWEN_SENTINELS = SentinelTokens(
    family="qwen",
    prefix="<|fim_prefix|>",
    suffix="<|fim_suffix|>",
    middle="<|fim_middle|>",
    file_separator="<|file_sep|>",
    end="<|endoftext|>",
    pad="<|fim_pad|>",
    other_stops=(
        "<|im_end|>",
        "<|fim_prefix|>",
        "<|fim_middle|>",
        "<|fim_suffix|>",
        "<|fim_pad|>",
        "<|repo_name|>",
        "<|file_sep|>",
    ),
    ids=QWEN_TOKEN_IDS,
    repo_name="<|repo_name|>",
)

SMOLLM2_SENTINELS = SentinelTokens(
    family="smollm2",
    prefix="<repo_name>",
    suffix="<reponame>",
    middle="<filename>",
    file_separator="<file_sep>",
    end="<|endoftext|>",
    pad="<empty_output>",
    other_stops=("<|im_end|>", "<repo_name>", "<reponame>", "<filename>", "<file_sep>"),
    ids=SMOLLM2_TOKEN_IDS,
)

CHAT_FAMILIES: tuple[ChatTokens, ...] = (
    ChatTokens(
        family="qwen3",
        turn_start="<|im_start|>",
        turn_end="<|im_end|>",
        document_end="<|endoftext|>",
        think=("<think>", "</think>"),
        ids=QWEN_TOKEN_IDS,
    ),
    ChatTokens(
        family="qwen2.5",
        turn_start="<|im_start|>",
        turn_end="<|im_end|>",
        document_end="<|endoftext|>",
        think=None,
        ids=QWEN_TOKEN_IDS,
    ),
    ChatTokens(
        family="smollm2",
        turn_start="<|im_start|>",
        turn_end="<|im_end|>",
        document_end="<|endoftext|>",
        think=None,
        ids=SMOLLM2_TOKEN_IDS,
    ),
)

PLAIN_FAMILIES: tuple[PlainTokens, ...] = (
    PlainTokens(
        family="qwen",
        document_end="<|endoftext|>",
        other_stops=("<|im_end|>",),
        pad="<|fim_pad|>",
        ids=QWEN_TOKEN_IDS,
    ),
    PlainTokens(
        family="smollm2",
        document_end="<|endoftext|>",
        other_stops=("<|im_end|>",),
        pad="<empty_output>",
        ids=SMOLLM2_TOKEN_IDS,
    ),
)
