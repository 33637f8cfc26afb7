"""How examples are laid out in rows: the token budget of a single row."""

from __future__ import annotations

from fim.packing.budget import RowBudget, fit_prompt

__all__ = ["RowBudget", "fit_prompt"]
