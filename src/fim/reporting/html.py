"""The report page: one HTML file with everything inline, no script, nothing fetched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.errors import MissingExtraError
from fim.reporting.data import MetricDisplay, ReportData, SampleView, display_of
from fim.reporting.differences import Difference, Piece, compare_texts, plain_pieces
from fim.reporting.figures import (
    format_count,
    format_difference,
    format_interval,
    format_seconds,
    format_time,
    format_value,
)
from fim.reporting.plots import (
    NARROW_INCHES,
    WIDE_INCHES,
    forest_plot,
    loss_plot,
    themed,
)
from fim.runs.writing import write_text

if TYPE_CHECKING:
    from pathlib import Path

    from jinja2 import Environment

SHORT_HASH_CHARS = 16
HALF_ROW_CHARS = 36


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer to a hole, ready to be drawn."""

    label: str
    stop_reason: str
    difference: Difference


@dataclass(frozen=True, slots=True)
class DrawnSample:
    """A hole, its surroundings in pieces, and both answers compared with the true text."""

    view: SampleView
    prefix: tuple[Piece, ...]
    hole: tuple[Piece, ...]
    suffix: tuple[Piece, ...]
    answers: tuple[Answer, ...]

    @property
    def is_wide(self) -> bool:
        """Whether the answers need a whole row each."""
        texts = (self.view.gold, self.view.base_output, self.view.tuned_output)
        return any(len(line) > HALF_ROW_CHARS for text in texts for line in text.split("\n"))


def render_report(data: ReportData) -> str:
    """Return the page as HTML text; every text of ``data`` is escaped.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    template = page_environment().get_template("report.html")
    return template.render(
        report=data,
        samples=[_drawn(sample) for sample in data.samples],
        plots=_plots(data),
        changed=[fact for fact in data.settings if fact.source not in {"", "default"}],
        metrics=_metrics(data),
        longest_stage=max((stage.seconds for stage in data.stages), default=0.0),
    )


def write_report(data: ReportData, path: Path) -> Path:
    """Render the page and write it atomically.

    Raises:
        MissingExtraError: jinja2 or matplotlib is not installed.
        RunFolderError: the file cannot be written.
    """
    page = render_report(data).encode("utf-8", errors="backslashreplace").decode("utf-8")
    return write_text(path, page)


def page_environment() -> Environment:
    """Return the templates with the filters of all pages.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError(
            "jinja2 is not installed, and the report page is rendered with it.",
            hint='pip install "fim[report]"',
        ) from error
    environment = Environment(
        loader=PackageLoader("fim.reporting", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        count=format_count,
        difference=format_difference,
        interval=format_interval,
        seconds=format_seconds,
        short_hash=_short_hash,
        time=format_time,
        value=format_value,
        visible=_visible,
    )
    return environment


def _plots(data: ReportData) -> dict[str, str]:
    """Draw each plot wide and narrow; the style sheet shows the one that fits."""
    plots = {"loss_wide": "", "loss_narrow": "", "forest_wide": "", "forest_narrow": ""}
    for size, width in (("wide", WIDE_INCHES), ("narrow", NARROW_INCHES)):
        if data.curve:
            svg = themed(loss_plot(data.curve, width_inches=width), prefix=f"loss-{size}")
            plots[f"loss_{size}"] = svg
        if data.comparison is not None and data.comparison.rows:
            svg = themed(
                forest_plot(data.comparison.rows, width_inches=width), prefix=f"forest-{size}"
            )
            plots[f"forest_{size}"] = svg
    return plots


def _drawn(view: SampleView) -> DrawnSample:
    return DrawnSample(
        view=view,
        prefix=plain_pieces(view.prefix_tail),
        hole=plain_pieces(view.gold, show_whitespace=True),
        suffix=plain_pieces(view.suffix_head),
        answers=(
            Answer("Base", view.base_stop, compare_texts(view.gold, view.base_output)),
            Answer("Tuned", view.tuned_stop, compare_texts(view.gold, view.tuned_output)),
        ),
    )


def _metrics(data: ReportData) -> dict[str, MetricDisplay]:
    """Collect the metrics of the page in their order of appearance, with how each is shown."""
    if data.comparison is None:
        return {}
    shown = {row.name: row.display for row in data.comparison.rows}
    for contestant in data.comparison.contestants:
        for name in contestant.metrics:
            shown.setdefault(name, display_of(name))
    return shown


def _visible(text: str) -> str:
    """Replace the characters that a page must not hold by their names."""
    return "".join(piece.text for piece in plain_pieces(text))


def _short_hash(text: str) -> str:
    return text if len(text) <= SHORT_HASH_CHARS else f"{text[:SHORT_HASH_CHARS]}…"
