"""Best-fit decreasing: items into as few bins of a capacity as a simple rule finds."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def best_fit_decreasing(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Return bins of item indices: the largest item first, each into the fullest bin that has room.

    An item larger than the capacity gets a bin of its own; nothing is cut or lost.

    Args:
        sizes: Size of each item.
        capacity: What a bin holds.

    >>> best_fit_decreasing([5, 3, 4, 2], 7)
    [[0, 3], [2, 1]]
    """
    bins: list[list[int]] = []
    room: list[tuple[int, int]] = []
    for item in sorted(range(len(sizes)), key=lambda index: (-sizes[index], index)):
        found = bisect_left(room, (sizes[item], -1))
        if found == len(room):
            bins.append([item])
            left, number = capacity - sizes[item], len(bins) - 1
        else:
            left, number = room.pop(found)
            bins[number].append(item)
            left -= sizes[item]
        if left > 0:
            insort(room, (left, number))
    return bins
