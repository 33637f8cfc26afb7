"""The page of two evaluations: one HTML file with everything inline, no script, nothing fetched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.reporting.differences import Difference, Piece, compare_texts, plain_pieces
from fim.reporting.figures import format_value
from fim.reporting.html import page_environment
from fim.runs.writing import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fim.reporting.eval_data import EvalCell, EvalMetric, EvalPage

NUM_BARS = 24
GOOD_MS, LIMIT_MS = 300.0, 500.0
_MIN_TOP_MS = 600.0
_TAIL_SHARE = 0.99
_P_SMALL = 0.0001


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a histogram in per cent of width and height; ``label`` tells its range."""

    left: float
    width: float
    height: float
    label: str


@dataclass(frozen=True, slots=True)
class Histogram:
    """The times of one side.

    ``good`` and ``limit`` are the places of 300 and 500 ms in per cent of the width.
    """

    name: str
    bars: tuple[Bar, ...]
    good: float
    limit: float
    top_ms: float
    p50: float
    p90: float
    p99: float
    within: float


@dataclass(frozen=True, slots=True)
class DrawnCell:
    """A hole ready to be drawn."""

    cell: EvalCell
    prefix: tuple[Piece, ...]
    hole: tuple[Piece, ...]
    suffix: tuple[Piece, ...]
    answers: tuple[tuple[str, str, Difference], ...]


def render_eval_page(page: EvalPage) -> str:
    """Return the page as HTML text; every text is escaped.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    environment = page_environment()
    environment.filters.update(p=format_p, metric_interval=_interval)
    return environment.get_template("eval.html").render(
        page=page,
        cells=[_drawn(page, cell) for cell in page.cells],
        worst=[_drawn(page, cell) for cell in page.worst],
        histograms=[histogram(name, times) for name, times in page.latency.items() if times],
    )


def write_eval_page(page: EvalPage, path: Path) -> Path:
    """Render the page and write it atomically.

    Raises:
        MissingExtraError: jinja2 is not installed.
        RunFolderError: The file cannot be written.
    """
    text = render_eval_page(page).encode("utf-8", errors="backslashreplace").decode("utf-8")
    return write_text(path, text)


def histogram(name: str, times: Sequence[float]) -> Histogram:
    """Return the histogram of answer times; times above the 99th percentile share the last bar."""
    ordered = sorted(times)
    top = max(_MIN_TOP_MS, ordered[min(len(ordered) - 1, int(_TAIL_SHARE * len(ordered)))])
    width = top / NUM_BARS
    counts = [0] * NUM_BARS
    for time in ordered:
        counts[min(NUM_BARS - 1, int(time / width))] += 1
    most = max(counts)
    bars = tuple(
        Bar(
            left=100 * number / NUM_BARS,
            width=100 / NUM_BARS,
            height=100 * count / most,
            label=f"{number * width:.0f} to {(number + 1) * width:.0f} ms: {count}",
        )
        for number, count in enumerate(counts)
        if count
    )
    return Histogram(
        name=name,
        bars=bars,
        good=100 * GOOD_MS / top,
        limit=100 * LIMIT_MS / top,
        top_ms=top,
        p50=_percentile(ordered, 50),
        p90=_percentile(ordered, 90),
        p99=_percentile(ordered, 99),
        within=sum(time <= LIMIT_MS for time in ordered) / len(ordered),
    )


def format_p(value: float | None) -> str:
    """Return a p-value as people read it."""
    if value is None:
        return format_value(None, "plain")
    return "<\N{THIN SPACE}0.0001" if value < _P_SMALL else f"{value:.4f}"


def _interval(metric: EvalMetric) -> str:
    from fim.reporting.figures import format_difference

    unit = metric.display.unit
    return f"{format_difference(metric.low, unit)} to {format_difference(metric.high, unit)}"


def _percentile(ordered: Sequence[float], share: int) -> float:
    return ordered[max(0, math.ceil(share / 100 * len(ordered)) - 1)]


def _drawn(page: EvalPage, cell: EvalCell) -> DrawnCell:
    return DrawnCell(
        cell=cell,
        prefix=plain_pieces(cell.prefix_tail),
        hole=plain_pieces(cell.gold, show_whitespace=True),
        suffix=plain_pieces(cell.suffix_head),
        answers=(
            (f"A \N{MIDDLE DOT} {page.name_a}", cell.a_stop, compare_texts(cell.gold, cell.a)),
            (f"B \N{MIDDLE DOT} {page.name_b}", cell.b_stop, compare_texts(cell.gold, cell.b)),
        ),
    )
