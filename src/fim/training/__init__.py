"""Training: an adapter from encoded rows, over TRL's ``SFTTrainer``."""

from __future__ import annotations

from fim.training.checkpoints import CHECKPOINT_FILE, find_checkpoint
from fim.training.masking import (
    CHATML_PATTERNS,
    HARMONY_PATTERNS,
    MaskingPatterns,
    MaskingStrategy,
)
from fim.training.order import num_planned_steps
from fim.training.packing_check import planned_packing
from fim.training.result import TrainingResult
from fim.training.rows import rows_fingerprint
from fim.training.trainer import Trainer

__all__ = [
    "CHATML_PATTERNS",
    "CHECKPOINT_FILE",
    "HARMONY_PATTERNS",
    "MaskingPatterns",
    "MaskingStrategy",
    "Trainer",
    "TrainingResult",
    "find_checkpoint",
    "num_planned_steps",
    "planned_packing",
    "rows_fingerprint",
]
