"""Suites: named sets of holes with the rule that scores them."""

from __future__ import annotations

from fim.evaluation.suites.base import (
    PROBE_PART,
    TEST_PART,
    TRAIN_PART,
    Check,
    Suite,
    SuiteItem,
    choose_by_seed,
    hash_items,
)
from fim.evaluation.suites.hub import HUB_PARTS
from fim.evaluation.suites.humaneval import (
    LEFT_TO_RIGHT,
    MULTI_LINE,
    PER_PROBLEM,
    SINGLE_LINE,
    humaneval_suite,
    read_problems,
)
from fim.evaluation.suites.own import OWN, hole_kind, own_suite, reason_to_drop
from fim.evaluation.suites.published import FILE_SUITES, SUITE_SCORE, load_published
from fim.evaluation.suites.rules import RULES, Rule, rule_named

HUMANEVAL_SUITES = (SINGLE_LINE, MULTI_LINE, LEFT_TO_RIGHT)
SUITE_NAMES = (OWN, *HUMANEVAL_SUITES, *FILE_SUITES)

__all__ = [
    "FILE_SUITES",
    "HUB_PARTS",
    "HUMANEVAL_SUITES",
    "LEFT_TO_RIGHT",
    "MULTI_LINE",
    "OWN",
    "PER_PROBLEM",
    "PROBE_PART",
    "RULES",
    "SINGLE_LINE",
    "SUITE_NAMES",
    "SUITE_SCORE",
    "TEST_PART",
    "TRAIN_PART",
    "Check",
    "Rule",
    "Suite",
    "SuiteItem",
    "choose_by_seed",
    "hash_items",
    "hole_kind",
    "humaneval_suite",
    "load_published",
    "own_suite",
    "read_problems",
    "reason_to_drop",
    "rule_named",
]
