"""Where the text of rows begins: at few places of a document, so that rows share what follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class StartRange:
    """Where the text of a row may begin, in characters of its document.

    Args:
        earliest: What the budget of the row allows.
        latest: What leaves it enough of its prefix.
    """

    earliest: int
    latest: int

    @classmethod
    def of(cls, *, cursor: int, kept: int, least_share: float) -> StartRange:
        """Return the range of a row whose budget keeps some characters before its cursor.

        Args:
            cursor: Characters before the hole.
            kept: How many of them the budget keeps.
            least_share: Share of these that the row must keep, from 0 to 1.
        """
        return cls(cursor - kept, cursor - round(kept * least_share))


def shared_starts(ranges: Sequence[StartRange]) -> list[int]:
    """Return a start for every range, as few different ones as there can be.

    Ranges are taken in the order of their earliest starts; those that have a place in common begin
    at the latest of their earliest starts, so the deepest of them loses nothing.

    >>> shared_starts([StartRange(0, 50), StartRange(30, 90), StartRange(60, 120)])
    [30, 30, 60]
    """
    starts = [0] * len(ranges)
    order = sorted(range(len(ranges)), key=lambda at: (ranges[at].earliest, at))
    group: list[int] = []
    latest = 0
    for at in order:
        if group and ranges[at].earliest > latest:
            group = []
        latest = min(latest, ranges[at].latest) if group else ranges[at].latest
        group.append(at)
        for member in group:
            starts[member] = ranges[at].earliest
    return starts
