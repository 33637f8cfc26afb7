"""Running answers apart from this process: walls, limits, verdicts, many at a time."""

from __future__ import annotations

from fim.evaluation.sandbox.runner import (
    Limits,
    Outcome,
    Program,
    Sandbox,
    describe_outcomes,
    usable_processors,
)
from fim.evaluation.sandbox.server import SandboxServer
from fim.evaluation.sandbox.walls import Walls, find_walls

__all__ = [
    "Limits",
    "Outcome",
    "Program",
    "Sandbox",
    "SandboxServer",
    "Walls",
    "describe_outcomes",
    "find_walls",
    "usable_processors",
]
