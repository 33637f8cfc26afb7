"""Training rows of a document that begin at the same place, so that tree packing shares a trunk.

The budget keeps as much of every prefix as fits, so the rows of a document longer than a row begin
at different places and share nothing. Here a row gives up part of its prefix where that lets it
begin where its neighbours do. It stays a prompt that an editor could send: that of a cursor nearer
to the start of the text.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from fim.packing.starts import StartRange, shared_starts
from fim.types import SegmentKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.data.encode import ExampleEncoder
    from fim.types import EncodedExample

_BEFORE_CURSOR = frozenset({SegmentKind.PREFIX, SegmentKind.ANCHOR})


def share_starts(
    rows: Sequence[EncodedExample], encoder: ExampleEncoder, *, least_share: float
) -> tuple[EncodedExample, ...]:
    """Return rows of which those of a document begin at as few places as possible.

    Args:
        rows: Encoded rows.
        encoder: What they were encoded with.
        least_share: Share of the prefix that a row keeps, of what its budget allows; 1 leaves every
            row as it is.
    """
    found = list(rows)
    if least_share >= 1.0:
        return tuple(found)
    documents: dict[str, list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        if row.example.document_id:
            documents[row.example.document_id].append(at)
    for members in documents.values():
        ranges = [_range(rows[at], encoder, least_share) for at in members]
        for at, allowed, start in zip(members, ranges, shared_starts(ranges), strict=True):
            found[at] = _begun_at(rows[at], encoder, start, latest=allowed.latest)
    return tuple(found)


def _range(row: EncodedExample, encoder: ExampleEncoder, least_share: float) -> StartRange:
    """Return where a row may begin."""
    texts = (encoder.tokenizer.decode(each.ids) for each in row.segments if _is_before(each.kind))
    cursor = len(row.example.prefix)
    kept = min(cursor, sum(len(text) for text in texts))
    return StartRange.of(cursor=cursor, kept=kept, least_share=least_share)


def _begun_at(
    row: EncodedExample, encoder: ExampleEncoder, start: int, *, latest: int
) -> EncodedExample:
    """Return a row whose text begins at a place, or at the next line where that is allowed.

    A row that another format or loss made stays as it is.
    """
    prefix = row.example.prefix
    line = prefix.find("\n", start - 1) + 1 if start else 0
    begin = line if start <= line <= latest else start
    if begin == 0:
        return row
    known = encoder.try_encode(row.example)
    made = encoder.try_encode(replace(row.example, prefix=prefix[begin:]))
    if isinstance(made, str) or isinstance(known, str) or known.input_ids != row.input_ids:
        return row
    lost = row.cut.prefix_tokens + _num_before(row) - _num_before(made)
    cut = replace(made.cut, prefix_tokens=max(lost, 0), context_items=row.cut.context_items)
    return replace(made, example=row.example, cut=cut)


def _num_before(row: EncodedExample) -> int:
    """Return the tokens before the cursor."""
    return sum(len(each.ids) for each in row.segments if _is_before(each.kind))


def _is_before(kind: SegmentKind) -> bool:
    """Tell whether a segment is text before the cursor."""
    return kind in _BEFORE_CURSOR
