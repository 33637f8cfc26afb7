"""Loss on a drawn share of the prompt's code, so that a small model learns the code base as well.

A row trains its middle, a few tokens of hundreds. Where a run is short, the rest of the row is the
larger part of what there is to learn from. Drawing some of its tokens instead of weighting all of
them leaves the loss a plain mean over trained tokens, whatever the packing.

Source:
    Bavarian et al. 2022, arXiv:2207.14255, train on the whole row; Shi et al. 2024,
    arXiv:2405.14394, on when loss over prompts helps instruction tuning.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.types import EncodedExample, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator

CODE_KINDS = frozenset({SegmentKind.PREFIX, SegmentKind.SUFFIX, SegmentKind.ANCHOR})


@dataclass(frozen=True, slots=True)
class PromptLoss:
    """Which tokens of prompts carry loss too.

    Args:
        share: Chance of each token of prefix and suffix, from 0 to 1.
        seed: Seed; the choice depends on it and on the row's own ids.
    """

    share: float
    seed: int

    def add_to(self, row: EncodedExample) -> EncodedExample:
        """Return a row that trains its drawn tokens besides what it trained before."""
        if self.share <= 0:
            return row
        draw = random.Random(f"{self.seed}:{row.input_ids}")
        labels = tuple(_labels(row, self.share, draw))
        return replace(row, labels=(*labels, *row.labels[row.prompt_length :]))


NO_PROMPT_LOSS = PromptLoss(share=0.0, seed=0)


def _labels(row: EncodedExample, share: float, draw: random.Random) -> Iterator[int]:
    place = 0
    for segment in row.segments:
        for token_id in segment.ids:
            if place == row.prompt_length:
                return
            is_drawn = segment.kind in CODE_KINDS and draw.random() < share
            yield token_id if is_drawn else row.labels[place]
            place += 1
