"""What leaves a run: model cards, and adapters on a hub."""

from __future__ import annotations

from fim.exporting.card import (
    CardData,
    CardMetric,
    CardSource,
    card_from_run,
    render_card,
    write_card,
)
from fim.exporting.hub import HubUpload, planned_upload, push_adapter

__all__ = [
    "CardData",
    "CardMetric",
    "CardSource",
    "HubUpload",
    "card_from_run",
    "planned_upload",
    "push_adapter",
    "render_card",
    "write_card",
]
