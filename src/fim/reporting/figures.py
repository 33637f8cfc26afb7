"""Numbers as people read them: signs, units, intervals, times, and the headline sentence."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fim.reporting.data import Comparison, MetricRow, Unit

MINUS = "\N{MINUS SIGN}"
NO_BREAK = "\N{NO-BREAK SPACE}"
DASH = "\N{EN DASH}"
NUM_GAINS_TOLD = 2
_SECONDS_PER_MINUTE = 60
_SECONDS_PER_HOUR = 3600


def _fixed(value: float, decimals: int) -> str:
    text = f"{abs(value):.{decimals}f}"
    is_zero = float(text) == 0.0
    return text if value >= 0 or is_zero else MINUS + text


def format_value(value: float | None, unit: Unit) -> str:
    """Return a metric's value with its unit; a dash for None or a value that is not finite."""
    if value is None or not math.isfinite(value):
        return DASH
    if unit == "share":
        return f"{_fixed(100 * value, 1)}{NO_BREAK}%"
    return _fixed(value, 3)


def format_difference(value: float, unit: Unit) -> str:
    """Return a signed difference; shares in percentage points, without the word.

    >>> format_difference(0.0525, "share")
    '+5.2'
    """
    text = _fixed(100 * value, 1) if unit == "share" else _fixed(value, 3)
    is_signed = text.startswith(MINUS) or float(text) == 0.0
    return text if is_signed else f"+{text}"


def format_interval(row: MetricRow) -> str:
    """Return the interval of a difference as ``low to high``."""
    unit = row.display.unit
    return f"{format_difference(row.low, unit)} to {format_difference(row.high, unit)}"


def format_seconds(seconds: float) -> str:
    """Return a duration.

    >>> format_seconds(8.25), format_seconds(75), format_seconds(3720)
    ('8.2 s', '1 min 15 s', '1 h 02 min')
    """
    if seconds < _SECONDS_PER_MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _SECONDS_PER_HOUR:
        return f"{whole // _SECONDS_PER_MINUTE} min {whole % _SECONDS_PER_MINUTE:02d} s"
    minutes = whole // _SECONDS_PER_MINUTE
    return f"{minutes // 60} h {minutes % 60:02d} min"


def format_time(text: str) -> str:
    """Return an ISO 8601 time to the minute; anything else unchanged.

    >>> format_time("2026-11-22T14:38:41+00:00")
    '2026-11-22 14:38 UTC'
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return f"{moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".strip()


def format_count(value: int | None) -> str:
    """Return a count with thousands separated; a dash for None."""
    return DASH if value is None else f"{value:,}"


def format_number(value: float) -> str:
    """Return any figure with at most four significant digits and no exponent where avoidable."""
    if float(value).is_integer():
        return f"{int(value):,}".replace("-", MINUS)
    return f"{value:,.4g}".replace("-", MINUS)


def headline_sentence(comparison: Comparison) -> str:
    """Say what the comparison shows in one sentence, with the intervals.

    A metric is called improved only when its interval excludes zero. At most two gains are
    told, and every loss.
    """
    where = f"On {format_count(comparison.num_items)} held-out holes"
    if comparison.num_clusters is not None:
        where += f" from {format_count(comparison.num_clusters)} files"
    told = [row for row in comparison.rows if row.verdict != "not enough to tell"]
    if not told:
        return f"{where} there is not enough to tell the tuned model from the base."
    better = [_change(row) for row in told if row.verdict == "better"][:NUM_GAINS_TOLD]
    worse = [_change(row) for row in told if row.verdict == "worse"]
    parts = []
    if better:
        parts.append(f"the tuned model beats the base in {_listed(better)}")
    if worse:
        subject = "falls behind in" if better else "the tuned model falls behind the base in"
        parts.append(f"{subject} {_listed(worse)}")
    return f"{where} {' and '.join(parts)}."


def _change(row: MetricRow) -> str:
    unit = row.display.unit
    label = row.display.label
    name = label if label.isupper() else label[0].lower() + label[1:]
    return (
        f"{name} ({format_value(row.base, unit)} → {format_value(row.tuned, unit)}; "
        f"{format_difference(row.difference, unit)}, 95{NO_BREAK}% interval {format_interval(row)})"
    )


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
