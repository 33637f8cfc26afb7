"""How examples are laid out in rows: the budget of a row, and rows packed into longer ones."""

from __future__ import annotations

from fim.packing.bins import best_fit_decreasing
from fim.packing.budget import RowBudget, fit_prompt
from fim.packing.layout import Branch, PackedRow, Piece, Tree, lay_out
from fim.packing.plan import Chosen, Packing, PackingPlan, plan_packing
from fim.packing.trees import Forest, plant_trees, single_rows

__all__ = [
    "Branch",
    "Chosen",
    "Forest",
    "PackedRow",
    "Packing",
    "PackingPlan",
    "Piece",
    "RowBudget",
    "Tree",
    "best_fit_decreasing",
    "fit_prompt",
    "lay_out",
    "plan_packing",
    "plant_trees",
    "single_rows",
]
