"""What a training run would do, take and cost, told without doing it."""

from __future__ import annotations

from fim.planning.flow import TrainingPlan, plan_training
from fim.planning.memory import Load, MemoryEstimate, Place, estimate_memory
from fim.planning.speed import TimeEstimate, estimate_seconds

__all__ = [
    "Load",
    "MemoryEstimate",
    "Place",
    "TimeEstimate",
    "TrainingPlan",
    "estimate_memory",
    "estimate_seconds",
    "plan_training",
]
