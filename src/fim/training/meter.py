"""Counts and speeds of training steps, and the memory they took."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.training.processes import summed

if TYPE_CHECKING:
    from collections.abc import Callable

_BYTES_PER_MIB = 2**20


@dataclass(frozen=True, slots=True)
class StepCounts:
    """What went into some steps.

    Args:
        rows: Training rows, each one hole.
        tokens: Tokens without padding.
        supervised_tokens: Tokens that were trained.
        seconds: Time of the steps alone, without evaluation and checkpoints.
    """

    rows: int = 0
    tokens: int = 0
    supervised_tokens: int = 0
    seconds: float = 0.0

    def __add__(self, other: StepCounts) -> StepCounts:
        """Return the sum of two counts."""
        return StepCounts(
            self.rows + other.rows,
            self.tokens + other.tokens,
            self.supervised_tokens + other.supervised_tokens,
            self.seconds + other.seconds,
        )

    def speeds(self) -> dict[str, float]:
        """Return tokens, trained tokens and holes per second; zero where no time was taken."""
        per_second = 1.0 / self.seconds if self.seconds > 0 else 0.0
        return {
            "tokens_per_second": self.tokens * per_second,
            "supervised_tokens_per_second": self.supervised_tokens * per_second,
            "holes_per_second": self.rows * per_second,
        }


def in_all(counts: StepCounts) -> StepCounts:
    """Return what went into the steps of all processes together."""
    rows, tokens, supervised = summed((counts.rows, counts.tokens, counts.supervised_tokens))
    return StepCounts(int(rows), int(tokens), int(supervised), counts.seconds)


class StepMeter:
    """Counts steps since the last reading and in all.

    Args:
        clock: Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = 0.0
        self._recent = StepCounts()
        self.total = StepCounts()
        self.num_steps = 0

    def begin_step(self) -> None:
        """Note the time before the step's first batch is made."""
        self._began = self._clock()

    def count(self, counts: StepCounts) -> None:
        """Add what goes into the present step."""
        self._recent += counts
        self.total += counts

    def end_step(self) -> None:
        """Close the present step."""
        self.num_steps += 1
        self.count(StepCounts(seconds=self._clock() - self._began))

    @property
    def mean_step_seconds(self) -> float:
        """Mean time of a step so far."""
        return self.total.seconds / self.num_steps if self.num_steps else 0.0

    def read(self) -> dict[str, float]:
        """Return the speeds since the last reading, and start anew."""
        speeds = self._recent.speeds()
        self._recent = StepCounts()
        return speeds


def peak_memory_mib(device: str) -> float:
    """Return the most memory in use so far: of the GPU for CUDA, else of the process (MiB)."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated() / _BYTES_PER_MIB
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _BYTES_PER_MIB if sys.platform == "darwin" else peak / 1024
