"""Rows of true middles, spelled as a healed prompt would be continued."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fim.data import align_cut, can_align, ends_at_cursor
from fim.types import IGNORED_LABEL, EncodedExample, EncodedSegment, FimExample

if TYPE_CHECKING:
    from fim.inference.protocols import PromptEncoder
    from fim.types import TextTokenizer

NUM_ANSWER_SEGMENTS = 2


def gold_row(
    encoder: PromptEncoder, example: FimExample, *, is_healed: bool
) -> EncodedExample | str:
    """Return the row in which an example's true middle is scored, or why there is none.

    Args:
        encoder: Makes rows.
        example: The hole with its true middle.
        is_healed: Begin the middle at the start of the token that reaches across the cursor, where
            the format's prompt ends at the cursor and the tokenizer knows its places.
    """
    row = encoder.try_encode(example)
    tokenizer = encoder.tokenizer
    if isinstance(row, str) or not is_healed or not can_align(tokenizer):
        return row
    if not ends_at_cursor(row.segments[:-NUM_ANSWER_SEGMENTS]):
        return row
    aligned = align_cut(example, tokenizer)
    if aligned is example:
        return row
    return _with_earlier_cursor(row, aligned, encoder.tokenizer) or encoder.try_encode(aligned)


def _with_earlier_cursor(
    row: EncodedExample, aligned: FimExample, tokenizer: TextTokenizer
) -> EncodedExample | None:
    """Move text from the end of a row's prompt into its answer, and leave the rest of the prompt.

    So the row begins with the very ids that a completion is asked with. None where the text is not
    the end of the prompt in whole tokens, or is all of it.
    """
    moved = aligned.middle[: len(aligned.middle) - len(row.example.middle)]
    *prompt, tail, middle, end = row.segments
    num_moved = _tokens_spelling(moved, tail.ids, tokenizer)
    if num_moved is None or num_moved == row.prompt_length:
        return None
    text = tail.text[: len(tail.text) - len(moved)]
    shorter = EncodedSegment(tail.kind, text, tail.ids[:-num_moved], tail.trained)
    answer = replace(middle, text=aligned.middle, ids=tuple(tokenizer.encode(aligned.middle)))
    before = row.input_ids[: row.prompt_length - num_moved]
    input_ids = (*before, *answer.ids, *end.ids)
    labels = (*(IGNORED_LABEL,) * len(before), *input_ids[len(before) :])
    return replace(
        row,
        input_ids=input_ids,
        labels=labels,
        prompt_length=len(before),
        segments=(*prompt, shorter, answer, end),
        example=aligned,
    )


def _tokens_spelling(text: str, ids: tuple[int, ...], tokenizer: TextTokenizer) -> int | None:
    """Return how many of the last ids spell a text."""
    sizes = range(1, min(len(ids), len(text.encode("utf-8", "surrogatepass"))) + 1)
    return next((size for size in sizes if tokenizer.decode(ids[-size:]) == text), None)
