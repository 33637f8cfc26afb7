"""The page of a built set: languages, kinds of holes, lengths, context, licences, drops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.reporting.html import page_environment
from fim.runs.writing import write_text

if TYPE_CHECKING:
    from pathlib import Path

MAX_BARS = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """A name, its count, and its share of the largest count (per cent)."""

    label: str
    count: int
    width: float


@dataclass(frozen=True, slots=True)
class Chart:
    """Counts under a title, the largest first."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class ChartGroup:
    """Charts that stand side by side under one title."""

    title: str
    charts: tuple[Chart, ...]


@dataclass(frozen=True, slots=True)
class DataPage:
    """What the page shows.

    Args:
        title: The set.
        facts: Names and figures under the title.
        groups: Counts; those without any are left out.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    groups: tuple[ChartGroup, ...]


def make_chart(title: str, counts: Mapping[str, int], *, is_sorted: bool = True) -> Chart:
    """Return a chart of at most 20 bars; the rest become one.

    Args:
        title: What is counted.
        counts: Counts by name.
        is_sorted: Put the largest first; False keeps the order.
    """
    items = list(counts.items())
    if is_sorted:
        items.sort(key=lambda item: (-item[1], item[0]))
    if len(items) > MAX_BARS:
        rest = sum(count for _, count in items[MAX_BARS:])
        items = [*items[:MAX_BARS], ("others", rest)]
    most = max((count for _, count in items), default=0) or 1
    bars = tuple(
        Bar(name.replace("_", " "), count, round(100 * count / most, 1)) for name, count in items
    )
    return Chart(title, bars)


def render_data_page(page: DataPage) -> str:
    """Return the page as HTML text; every text is escaped.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    return page_environment().get_template("data.html").render(page=page)


def write_data_page(page: DataPage, path: Path) -> Path:
    """Render the page and write it atomically.

    Raises:
        MissingExtraError: jinja2 is not installed.
        RunFolderError: The file cannot be written.
    """
    text = render_data_page(page).encode("utf-8", errors="backslashreplace").decode("utf-8")
    return write_text(path, text)


def bucket_lengths(lengths: Sequence[int]) -> Mapping[str, int]:
    """Return how many lengths fall between powers of two, from the shortest to the longest."""
    counts: dict[int, int] = {}
    for length in lengths:
        bits = length.bit_length()
        counts[bits] = counts.get(bits, 0) + 1
    return {_range_of(bits): counts.get(bits, 0) for bits in range(max(counts, default=-1) + 1)}


def _range_of(bits: int) -> str:
    low, high = (0, 0) if bits == 0 else (1 << (bits - 1), (1 << bits) - 1)
    return f"{low}" if low == high else f"{low} to {high}"
