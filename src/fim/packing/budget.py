"""The token budget of a row: what is kept when an example is longer than the sequence.

The middle, its end token and everything that the format itself adds are reserved first. Whole
context items go next (the caller leaves them out and asks again), then the prefix loses tokens on
its left and the suffix on its right. Ids are cut and kept, never decoded and encoded again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.types import Cut, EncodedSegment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BEFORE_CURSOR = frozenset({SegmentKind.PREFIX, SegmentKind.ANCHOR})
CUTTABLE = BEFORE_CURSOR | {SegmentKind.SUFFIX}
NUM_END_TOKENS = 1


@dataclass(frozen=True, slots=True)
class RowBudget:
    """How the tokens of a row are shared.

    Args:
        max_tokens: Length of a row.
        middle_reserve_tokens: Tokens that every prompt leaves free for the middle, capped at half
            of the row. A prompt made for serving equals the training prompt whenever the middle
            fits into the reserve.
        prefix_share: Part of the tokens left for code that the prefix gets, from 0 to 1; what
            one side does not use passes to the other.
    """

    max_tokens: int
    middle_reserve_tokens: int = 256
    prefix_share: float = 0.75

    def prompt_tokens(self, num_middle_tokens: int = 0) -> int:
        """Return how many tokens the prompt may have; negative when the middle is too long."""
        reserve = min(self.middle_reserve_tokens, self.max_tokens // 2)
        return self.max_tokens - max(reserve, num_middle_tokens) - NUM_END_TOKENS


def fit_prompt(
    segments: Sequence[EncodedSegment], *, max_tokens: int, prefix_share: float
) -> tuple[tuple[EncodedSegment, ...], Cut] | None:
    """Cut a prompt's prefix and suffix until it fits.

    Args:
        segments: The prompt in order; only prefix, anchor and suffix segments are cut.
        max_tokens: Length that the prompt may have.
        prefix_share: Part of the room for code that the prefix gets.

    Returns:
        The segments and what was cut from them, or None when the uncuttable parts alone are too
        long or nothing would be left to ask with.
    """
    num_before = _count(segments, BEFORE_CURSOR)
    num_after = _count(segments, {SegmentKind.SUFFIX})
    num_fixed = sum(len(segment.ids) for segment in segments) - num_before - num_after
    room = max_tokens - num_fixed
    if room < 0 or max_tokens < 1:
        return None
    keep_before, keep_after = _share(room, num_before, num_after, prefix_share)
    cut = Cut(prefix_tokens=num_before - keep_before, suffix_tokens=num_after - keep_after)
    if not cut.prefix_tokens and not cut.suffix_tokens:
        return tuple(segments), cut
    return tuple(_cut(segments, cut.prefix_tokens, cut.suffix_tokens)), cut


def _count(segments: Sequence[EncodedSegment], kinds: Iterable[SegmentKind]) -> int:
    wanted = frozenset(kinds)
    return sum(len(segment.ids) for segment in segments if segment.kind in wanted)


def _share(room: int, num_before: int, num_after: int, prefix_share: float) -> tuple[int, int]:
    quota_before = round(room * prefix_share)
    keep_before = min(num_before, max(quota_before, room - num_after))
    keep_after = min(num_after, room - keep_before)
    return keep_before, keep_after


def _cut(
    segments: Sequence[EncodedSegment], prefix_tokens: int, suffix_tokens: int
) -> Iterable[EncodedSegment]:
    left, right = prefix_tokens, suffix_tokens
    for segment in segments:
        if segment.kind in BEFORE_CURSOR:
            taken = min(left, len(segment.ids))
            left -= taken
            yield replace(segment, ids=segment.ids[taken:])
        elif segment.kind is SegmentKind.SUFFIX:
            taken = min(right, len(segment.ids))
            right -= taken
            yield replace(segment, ids=segment.ids[: len(segment.ids) - taken])
        else:
            yield segment
