from __future__ import annotations

import doctest
import math

import pytest

from fim.reporting import figures
from fim.reporting.data import Comparison, MetricRow, display_of
from fim.reporting.figures import (
    format_count,
    format_difference,
    format_interval,
    format_number,
    format_seconds,
    format_time,
    format_value,
    headline_sentence,
)


def row(name: str, low: float, high: float) -> MetricRow:
    middle = (low + high) / 2
    return MetricRow(name, display_of(name), "base", 0.5, 0.5 + middle, middle, low, high)


def test_doctests() -> None:
    assert doctest.testmod(figures).failed == 0


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "nats", "–"),
        (math.nan, "nats", "–"),
        (1.80349, "nats", "1.803"),
        (-0.0001, "score", "0.000"),
        (0.115, "share", "11.5\N{NO-BREAK SPACE}%"),
        (-2.5, "plain", "−2.500"),
    ],
)
def test_values(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.065, "share", "+6.5"),
        (-0.576, "nats", "−0.576"),
        (0.00001, "nats", "0.000"),
        (0.0, "score", "0.000"),
    ],
)
def test_differences(value: float, unit: str, text: str) -> None:
    assert format_difference(value, unit) == text


def test_interval() -> None:
    assert format_interval(row("exact_match", -0.03, 0.1)) == "−3.0 to +10.0"


def test_other_figures() -> None:
    assert format_count(None) == "–"
    assert format_count(12345) == "12,345"
    assert format_number(1088.2) == "1,088"
    assert format_number(80.0) == "80"
    assert format_number(-0.00012341) == "−0.0001234"
    assert format_seconds(3599.6) == "1 h 00 min"
    assert format_time("yesterday") == "yesterday"


@pytest.mark.parametrize(
    ("name", "low", "high", "verdict"),
    [
        ("nll_per_token", -0.6, -0.1, "better"),
        ("nll_per_token", 0.1, 0.6, "worse"),
        ("edit_similarity", 0.1, 0.2, "better"),
        ("edit_similarity", -0.2, -0.1, "worse"),
        ("edit_similarity", 0.0, 0.1, "not enough to tell"),
        ("edit_similarity", -0.1, 0.1, "not enough to tell"),
    ],
)
def test_verdict_needs_an_interval_without_zero(
    name: str, low: float, high: float, verdict: str
) -> None:
    assert row(name, low, high).verdict == verdict


def test_headline_tells_gains_with_their_intervals() -> None:
    told = headline_sentence(
        Comparison((row("nll_per_token", -0.6, -0.4),), (), num_items=1200, num_clusters=57)
    )

    assert told == (
        "On 1,200 held-out holes from 57 files the tuned model beats the base in "
        "gold NLL per token (0.500 → 0.000; −0.500, 95\N{NO-BREAK SPACE}% interval "
        "−0.600 to −0.400)."
    )


def test_headline_never_claims_what_cannot_be_told() -> None:
    told = headline_sentence(Comparison((row("edit_similarity", -0.1, 0.2),), (), num_items=20))

    assert told == "On 20 held-out holes there is not enough to tell the tuned model from the base."


def test_headline_tells_losses_too() -> None:
    losing = row("edit_similarity", -0.2, -0.1)
    alone = headline_sentence(Comparison((losing,), (), num_items=9))
    mixed = headline_sentence(
        Comparison((row("nll_per_token", -0.6, -0.4), losing), (), num_items=9)
    )

    assert "the tuned model falls behind the base in edit similarity" in alone
    assert "beats the base in gold NLL per token" in mixed
    assert "and falls behind in edit similarity" in mixed


def test_headline_keeps_to_two_gains() -> None:
    rows = tuple(row(name, 0.1, 0.2) for name in ("edit_similarity", "exact_match", "stop_rate"))

    told = headline_sentence(Comparison(rows, (), num_items=9))

    assert "exact match" in told
    assert "stop rate" not in told


def test_unknown_metrics_show_themselves() -> None:
    display = display_of("identifier_f1")
    assert (display.label, display.unit, display.higher_is_better) == (
        "Identifier f1",
        "plain",
        True,
    )
    assert display_of("regret", higher_is_better=False).higher_is_better is False
