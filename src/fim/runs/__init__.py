"""Run folders: where a run writes what it was, what it did and what came out of it."""

from __future__ import annotations

from fim.runs.comparing import RunComparison, compare_runs
from fim.runs.environment import collect_environment
from fim.runs.folder import LATEST_NAME, RunFolder, RunState, RunStatus, new_run_id
from fim.runs.listing import RunSummary, find_latest_finished, find_run, list_runs, summarise

__all__ = [
    "LATEST_NAME",
    "RunComparison",
    "RunFolder",
    "RunState",
    "RunStatus",
    "RunSummary",
    "collect_environment",
    "compare_runs",
    "find_latest_finished",
    "find_run",
    "list_runs",
    "new_run_id",
    "summarise",
]
