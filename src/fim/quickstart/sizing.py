"""How many held-out holes a quickstart scores: all, or as many as the machine has time for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.types import FimExample

PILOT_HOLES = 24
FEWEST_HOLES = 96
SCORING_SHARE = 0.4
CHAT_SHARE = 1 / 6
TIMES_ASKED = 2 + CHAT_SHARE


def spread(holes: Sequence[FimExample], number: int) -> tuple[FimExample, ...]:
    """Return some holes at even distances, so that as many files as possible are among them."""
    number = min(number, len(holes))
    return tuple(holes[place * len(holes) // number] for place in range(number))


def affordable_holes(num_holes: int, *, seconds_per_hole: float, seconds_left: float) -> int:
    """Return how many holes can be scored by the base and the tuned model in their share of time.

    Nothing that an answer says is looked at, only how long answers take.

    Args:
        num_holes: How many there are.
        seconds_per_hole: What a hole took the untrained model.
        seconds_left: Time for scoring and training.
    """
    affordable = SCORING_SHARE * seconds_left / (TIMES_ASKED * max(seconds_per_hole, 1e-9))
    return min(num_holes, max(FEWEST_HOLES, int(affordable)))
