"""What leaves a run: model cards."""

from __future__ import annotations

from fim.exporting.card import (
    CardData,
    CardMetric,
    CardSource,
    card_from_run,
    render_card,
    write_card,
)

__all__ = ["CardData", "CardMetric", "CardSource", "card_from_run", "render_card", "write_card"]
