"""The whole path in one command: code, base scored, fine-tuned, scored again, on one page."""

from __future__ import annotations

from fim.quickstart.flow import run_quickstart
from fim.quickstart.outcome import MetricGain, QuickstartOutcome, ShownHole, next_commands

__all__ = ["MetricGain", "QuickstartOutcome", "ShownHole", "next_commands", "run_quickstart"]
