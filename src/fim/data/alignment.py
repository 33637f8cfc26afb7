"""Holes that begin where a token begins, as a healed prompt is continued.

Cut inside a word, or between a space and the word behind it, the text before and after the cursor
is spelled with tokens that no file is made of. Rows that are cut there teach spellings instead of
code. So the beginning of a hole may be moved to the left, to the start of the token that reaches
across it. It is the counterpart of token healing, which asks for the same tokens.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeGuard, runtime_checkable

from fim.data.mixture import MixedExample, MixedSet, RowRole
from fim.types import TEXT_BEFORE_CURSOR, FimExample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fim.formats import FimFormat
    from fim.types import EncodedSegment, Segment

ALIGNED = "aligned"
CHARS_BEFORE = 160
CHARS_AFTER = 64
_PROBE = FimExample(prefix="a\nb", middle="", suffix="c")


@runtime_checkable
class AligningTokenizer(Protocol):
    """A tokenizer that tells where its tokens stand in a text: ``fim.data.TokenizerView``."""

    def token_start(self, text: str, position: int) -> int:
        """Return where the token begins that reaches across a position, or the position."""
        ...


def can_align(tokenizer: object) -> TypeGuard[AligningTokenizer]:
    """Tell whether a tokenizer knows where its tokens stand in a text."""
    return isinstance(tokenizer, AligningTokenizer)


def ends_at_cursor(prompt: Sequence[Segment] | Sequence[EncodedSegment]) -> bool:
    """Tell whether the last thing in a prompt is the text before the cursor."""
    return bool(prompt) and prompt[-1].kind in TEXT_BEFORE_CURSOR


def align_cut(example: FimExample, tokenizer: AligningTokenizer) -> FimExample:
    """Begin the hole at the start of the token that reaches across its beginning.

    Only text close to the cursor is looked at, from the start of a line where there is one.

    Args:
        example: A hole; its text as a whole stays the same.
        tokenizer: Says where tokens begin in prefix and middle read together.

    Returns:
        The example itself where a token begins at the cursor already, and for an empty middle.
    """
    if not example.prefix or not example.middle:
        return example
    before = _text_before(example.prefix)
    start = tokenizer.token_start(before + example.middle[:CHARS_AFTER], len(before))
    moved = before[start:]
    if not moved:
        return example
    return replace(example, prefix=example.prefix[: -len(moved)], middle=moved + example.middle)


def cut_aligner(
    wanted: FimFormat, tokenizer: AligningTokenizer, *, is_wanted: bool = True
) -> Callable[[FimExample], FimExample]:
    """Return what aligns holes for a format, which leaves them alone where that makes no sense.

    Args:
        wanted: A format whose prompt does not end at the cursor cannot be healed.
        tokenizer: Says where tokens begin.
        is_wanted: Whether to align at all.
    """
    if is_wanted and ends_at_cursor(wanted.render(_PROBE, with_middle=False)):
        return partial(align_cut, tokenizer=tokenizer)
    return _same


def align_holes(mixed: MixedSet, align: Callable[[FimExample], FimExample]) -> MixedSet:
    """Align the holes of a training set that are trained in its own format.

    Holes that are trained suffix first and plain code stay as they are. ``effects`` counts the
    holes that were moved under ``aligned``, if there are any.
    """
    effects = Counter(mixed.effects)
    examples = []
    for each in mixed.examples:
        aligned = align(each.example) if each.role is RowRole.FIM else each.example
        effects[ALIGNED] += aligned is not each.example
        examples.append(MixedExample(aligned, each.role))
    return MixedSet(tuple(examples), {name: effects[name] for name in sorted(+effects)})


def _same(example: FimExample) -> FimExample:
    return example


def _text_before(prefix: str) -> str:
    """Return the end of a prefix, from the start of a line if one is near."""
    if len(prefix) <= CHARS_BEFORE:
        return prefix
    near = prefix[-CHARS_BEFORE:]
    return near[near.find("\n", 0, CHARS_BEFORE // 2) + 1 :]
