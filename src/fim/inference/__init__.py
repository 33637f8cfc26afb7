"""Inference: completions whole, streamed and in batches, stop rules, clean-ups, gold scores."""

from __future__ import annotations

from fim.inference.cleanup import (
    CLEAN_UPS,
    CUT_AT_FENCE,
    DROP_OVERLAP,
    REMOVE_FENCE,
    CleanUp,
    clean_up,
    cut_at_closing_fence,
    drop_overlap,
    drop_repeated_prefix,
    drop_repeated_suffix,
    ended_by,
    remove_markdown_fence,
)
from fim.inference.completer import CodeCompleter
from fim.inference.completion_stream import CompletionStream
from fim.inference.generate import GeneratedIds, GenerationWatcher, TokenStream, generate_batch
from fim.inference.protocols import PromptEncoder, ResolvedTokens
from fim.inference.sampling import GenerationOptions, GenerationOverrides
from fim.inference.score import GoldScore, score_batch
from fim.inference.stops import (
    BLANK_LINE,
    BLOCK,
    DEDENT,
    FIRST_LINE,
    FIRST_TEXT_LINE,
    NONE,
    STOP_RULES,
    StopRule,
    StopScan,
    stop_at,
    stop_rule,
)
from fim.inference.text_stream import CompletionText, TextAssembler

__all__ = [
    "BLANK_LINE",
    "BLOCK",
    "CLEAN_UPS",
    "CUT_AT_FENCE",
    "DEDENT",
    "DROP_OVERLAP",
    "FIRST_LINE",
    "FIRST_TEXT_LINE",
    "NONE",
    "REMOVE_FENCE",
    "STOP_RULES",
    "CleanUp",
    "CodeCompleter",
    "CompletionStream",
    "CompletionText",
    "GeneratedIds",
    "GenerationOptions",
    "GenerationOverrides",
    "GenerationWatcher",
    "GoldScore",
    "PromptEncoder",
    "ResolvedTokens",
    "StopRule",
    "StopScan",
    "TextAssembler",
    "TokenStream",
    "clean_up",
    "cut_at_closing_fence",
    "drop_overlap",
    "drop_repeated_prefix",
    "drop_repeated_suffix",
    "ended_by",
    "generate_batch",
    "remove_markdown_fence",
    "score_batch",
    "stop_at",
    "stop_rule",
]
