"""Which way of packing a run takes, and which rows stand in each of its steps."""

from __future__ import annotations

import logging
import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fim.errors import ConflictingSettingsError
from fim.packing.bins import best_fit_decreasing
from fim.packing.layout import PackedRow, Tree, lay_out
from fim.packing.trees import Forest, plant_trees, single_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.types import EncodedExample

Packing = Literal["auto", "none", "bfd", "tree"]
Chosen = Literal["none", "bfd", "tree"]
LEAST_TREE_GAIN = 1.05

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PackingPlan:
    """Rows as trees, and how many of them stand in a packed row and in a step.

    Args:
        name: ``none`` for every row alone, ``bfd`` for several whole rows in a packed row, ``tree``
            for rows that hang from each other.
        forest: The rows as trees.
        max_tokens: Most ids in a packed row, trees larger than that excepted.
        rows_per_step: Rows in an optimizer step, as nearly as whole trees allow.
        reason: Why this way was taken.
        trunk_weight: Weight of the plain language-model loss on the text of trunks; 0 for none.
    """

    name: Chosen
    forest: Forest
    max_tokens: int
    rows_per_step: int
    reason: str
    trunk_weight: float = 0.0

    @property
    def num_rows(self) -> int:
        """Rows of an epoch."""
        return sum(len(tree.rows) for tree in self.forest.trees)

    @property
    def num_steps(self) -> int:
        """Optimizer steps of an epoch, the same for every epoch."""
        if self.name != "tree":
            return math.ceil(self.num_rows / self.rows_per_step)
        return max(1, math.floor(self.num_rows / self.rows_per_step + 0.5))

    @property
    def token_gain(self) -> float:
        """Ids of the rows for each id that is computed."""
        return self.forest.token_gain

    def steps(self, *, seed: int, epoch: int) -> list[list[Tree]]:
        """Return the trees of every step of an epoch, a pure function of seed and epoch.

        Trees are shuffled and cut into steps of equally many rows; a tree is never split, and one
        on a cut goes where the larger part of it lies.
        """
        order = list(self.forest.trees)
        random.Random(f"{seed}:{epoch}").shuffle(order)
        steps: list[list[Tree]] = [[] for _ in range(self.num_steps)]
        before = 0
        for tree in order:
            middle = before + len(tree.rows) / 2
            steps[min(int(middle / self.rows_per_step), self.num_steps - 1)].append(tree)
            before += len(tree.rows)
        return steps

    def packed_rows(
        self, trees: Sequence[Tree], rows: Sequence[EncodedExample]
    ) -> tuple[PackedRow, ...]:
        """Return the packed rows of a step, filled best-fit decreasing."""
        capacity = 1 if self.name == "none" else self.max_tokens
        bins = best_fit_decreasing([tree.num_tokens for tree in trees], capacity)
        has_plain = self.trunk_weight > 0
        return tuple(
            lay_out([trees[at] for at in each], rows, has_plain=has_plain) for each in bins
        )

    def facts(self) -> dict[str, object]:
        """Return what a manifest and a dry run say about the packing."""
        return {
            "packing": self.name,
            "token_gain": round(self.token_gain, 3),
            "row_tokens": self.forest.num_row_tokens,
            "packed_tokens": self.forest.num_tokens,
            "trees": sum(bool(tree.branches) for tree in self.forest.trees),
            "single_rows": sum(not tree.branches for tree in self.forest.trees),
            "steps": self.num_steps,
            "reason": self.reason,
        }


def plan_packing(
    rows: Sequence[EncodedExample],
    wanted: Packing,
    *,
    max_tokens: int,
    rows_per_step: int,
    obstacle: str = "",
    trunk_weight: float = 0.0,
) -> PackingPlan:
    """Choose a way of packing and lay the rows out as trees.

    ``tree`` falls back to ``bfd`` where no row can hang from another. ``auto`` takes ``tree`` where
    it spares ids, and ``none`` elsewhere: batches of rows of similar length hold next to no
    padding, so ``bfd`` gains nothing over them. The log says what was taken and why.

    Args:
        rows: Encoded rows.
        wanted: The setting.
        max_tokens: Most ids in a packed row.
        rows_per_step: Rows in an optimizer step.
        obstacle: Why rows cannot be packed here at all; empty when they can.
        trunk_weight: Weight of the plain language-model loss on trunks; counts for ``tree`` only.

    Raises:
        ConflictingSettingsError: Packing is asked for by name and cannot be had.
    """
    if obstacle and wanted in {"tree", "bfd"}:
        raise ConflictingSettingsError(
            f"train.packing is {wanted}, and rows cannot be packed here: {obstacle}.",
            hint="FIM_TRAIN_PACKING=auto packs where it can, none nowhere",
            context={"packing": wanted, "obstacle": obstacle},
        )
    name: Chosen = "bfd"
    forest = single_rows(rows)
    reason = "train.packing asks for it"
    if obstacle or wanted == "none":
        name, reason = "none", obstacle or reason
    elif wanted in {"tree", "auto"}:
        grown = plant_trees(rows, max_tokens=max_tokens, max_rows=rows_per_step)
        least = LEAST_TREE_GAIN if wanted == "auto" else 1.0
        if not grown.reason and grown.token_gain >= least:
            name, forest = "tree", grown
            reason = f"{grown.token_gain:.2f} times fewer ids"
        else:
            name = "none" if wanted == "auto" else "bfd"
            reason = grown.reason or f"trees would spare {grown.token_gain:.2f} times only"
    if name != wanted and (wanted != "auto" or obstacle):
        _logger.warning("train.packing %s: %s takes its place, since %s", wanted, name, reason)
    else:
        _logger.info("packing %s: %s", name, reason)
    if trunk_weight and name != "tree":
        _logger.warning("train.trunk_loss needs trees: packing %s trains holes alone", name)
        trunk_weight = 0.0
    return PackingPlan(name, forest, max_tokens, rows_per_step, reason, trunk_weight)
