"""Plots as SVG text: deterministic, transparent, in mid-tones that suit light and dark pages."""

from __future__ import annotations

import io
import re
import textwrap
from itertools import groupby
from typing import TYPE_CHECKING

from fim.errors import MissingExtraError
from fim.runs.writing import write_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fim.reporting.data import LossPoint, MetricRow, Unit

INK = "#768390"
RULE = "#8b949e"
TRAIN = "#3987c9"
HELD_OUT = "#d07a1e"
GAIN = "#2f9e6e"
LOSS = "#d0524c"
COLOURS = {
    "ink": INK,
    "rule": RULE,
    "train": TRAIN,
    "held-out": HELD_OUT,
    "gain": GAIN,
    "loss": LOSS,
}

WIDE_INCHES = 7.2
NARROW_INCHES = 3.6
WIDE_LABEL_CHARS = 24
NARROW_LABEL_CHARS = 11
NUM_POINTS_SMOOTHED = 30
SMOOTHING_SHARE = 20

_UNIT_AXES: dict[Unit, str] = {
    "nats": "nats per token",
    "score": "score, 0 to 1",
    "share": "percentage points",
    "plain": "difference",
}


def loss_plot(points: Sequence[LossPoint], *, width_inches: float = WIDE_INCHES) -> str:
    """Draw training and held-out loss by step, with the learning rate below, as an SVG element.

    Over 30 logged losses the points are drawn faint under their running mean.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    has_rate = any(point.learning_rate is not None for point in points)
    height = 3.4 if width_inches >= WIDE_INCHES else 3.0
    figure = new_figure(width_inches, height)
    if has_rate:
        grid = figure.add_gridspec(2, 1, height_ratios=(4, 1), hspace=0.12)
        losses = figure.add_subplot(grid[0])
        rates = figure.add_subplot(grid[1], sharex=losses)
        _draw_rates(rates, points)
        losses.tick_params(labelbottom=False)
        rates.set_xlabel("optimizer step")
    else:
        losses = figure.add_subplot()
        losses.set_xlabel("optimizer step")
    _draw_losses(losses, points)
    return as_svg(figure, "loss")


def forest_plot(rows: Sequence[MetricRow], *, width_inches: float = WIDE_INCHES) -> str:
    """Draw each difference with its interval; right of the line the tuned model is better.

    Metrics of one unit share an axis, and the axis of a metric that should be small is reversed.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    panels = _panels(rows)
    sizes = [len(panel) for panel in panels]
    figure = new_figure(width_inches, 0.36 * sum(sizes) + 0.6 * len(sizes))
    grid = figure.add_gridspec(len(panels), 1, height_ratios=sizes)
    label_chars = WIDE_LABEL_CHARS if width_inches >= WIDE_INCHES else NARROW_LABEL_CHARS
    for index, panel in enumerate(panels):
        _draw_intervals(figure.add_subplot(grid[index]), panel, label_chars)
    return as_svg(figure, "forest")


def write_loss_plot(points: Sequence[LossPoint], path: Path) -> Path:
    """Write the loss plot as a stand-alone SVG file.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RunFolderError: the file cannot be written.
    """
    return write_text(path, loss_plot(points) + "\n")


def themed(svg: str, *, prefix: str) -> str:
    """Return an SVG with colours from the page's ``--plot-*`` variables and with unique ids.

    Args:
        svg: What a plot function returned.
        prefix: Put before every id, so that several plots can stand in one page.
    """
    for name, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--plot-{name}, {colour})")
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}-", svg)


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError(
            "matplotlib is not installed, and the plots of a report are drawn with it.",
            hint='pip install "fim[report]"',
        ) from error
    return Figure(figsize=(width, height), layout="constrained")


def as_svg(figure: Figure, salt: str) -> str:
    """Return a figure as an SVG element that is the same for the same drawing.

    Args:
        figure: What was drawn.
        salt: Makes its ids differ from those of other plots.
    """
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": f"fim-{salt}"}):
        figure.savefig(
            buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]+", "font-family: system-ui, sans-serif", svg)
    return svg.replace(
        '<style type="text/css">*{', f'<style type="text/css">.plot-{salt} *{{'
    ).replace("<svg ", f'<svg class="plot-{salt}" ', 1)


def style_axes(axes: Axes) -> None:
    """Give axes the look of all plots."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(RULE)
        axes.spines[side].set_alpha(0.5)
    axes.tick_params(colors=INK, labelsize=8.5, length=3)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    axes.xaxis.label.set_fontsize(9)
    axes.yaxis.label.set_fontsize(9)


def _draw_losses(axes: Axes, points: Sequence[LossPoint]) -> None:
    style_axes(axes)
    axes.set_ylabel("loss, nats per token")
    axes.grid(visible=True, axis="y", color=RULE, alpha=0.25, linewidth=0.6)
    trained = [(point.step, point.loss) for point in points if point.loss is not None]
    held_out = [(point.step, point.eval_loss) for point in points if point.eval_loss is not None]
    if not trained and not held_out:
        axes.text(0.5, 0.5, "no loss was logged", color=INK, ha="center", transform=axes.transAxes)
        return
    if trained:
        steps, losses = [step for step, _ in trained], [loss for _, loss in trained]
        is_smoothed = len(losses) > NUM_POINTS_SMOOTHED
        if is_smoothed:
            window = len(losses) // SMOOTHING_SHARE
            axes.plot(steps, losses, color=TRAIN, linewidth=0.8, alpha=0.3)
            losses = _running_mean(losses, window)
        label = "training, running mean" if is_smoothed else "training"
        marker = "" if len(losses) > 1 else "o"
        axes.plot(steps, losses, color=TRAIN, linewidth=1.8, label=label, marker=marker)
    if held_out:
        axes.plot(
            [step for step, _ in held_out],
            [loss for _, loss in held_out],
            color=HELD_OUT,
            linewidth=1.4,
            linestyle="--",
            marker="o",
            markersize=4,
            label="held-out",
        )
    axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, loc="upper right")


def _draw_rates(axes: Axes, points: Sequence[LossPoint]) -> None:
    style_axes(axes)
    rated = [
        (point.step, point.learning_rate) for point in points if point.learning_rate is not None
    ]
    axes.plot([step for step, _ in rated], [rate for _, rate in rated], color=INK, linewidth=1.2)
    axes.set_ylim(bottom=0)
    highest = max(rate for _, rate in rated)
    axes.set_yticks([highest] if highest > 0 else [0.0], [f"{highest:.2g}"])
    axes.set_ylabel("rate")


def _running_mean(values: Sequence[float], window: int) -> list[float]:
    half = max(1, window // 2)
    means = []
    for index in range(len(values)):
        near = values[max(0, index - half) : index + half + 1]
        means.append(sum(near) / len(near))
    return means


def _panels(rows: Sequence[MetricRow]) -> list[list[MetricRow]]:
    def axis(row: MetricRow) -> tuple[Unit, bool]:
        return row.display.unit, row.display.higher_is_better

    order = list(dict.fromkeys(axis(row) for row in rows))
    ranked = sorted(rows, key=lambda row: order.index(axis(row)))
    return [list(panel) for _, panel in groupby(ranked, key=axis)]


def _draw_intervals(axes: Axes, panel: Sequence[MetricRow], label_chars: int) -> None:
    style_axes(axes)
    unit = panel[0].display.unit
    scale = 100.0 if unit == "share" else 1.0
    axes.axvline(0.0, color=RULE, linewidth=1.0)
    colours = {"better": GAIN, "worse": LOSS, "not enough to tell": INK}
    places = range(len(panel) - 1, -1, -1)
    for place, row in zip(places, panel, strict=True):
        colour = colours[row.verdict]
        axes.plot([scale * row.low, scale * row.high], [place, place], color=colour, linewidth=2.4)
        axes.plot([scale * row.difference], [place], color=colour, marker="o", markersize=6.5)
    labels = [textwrap.fill(row.display.label, label_chars) for row in panel]
    axes.set_yticks(list(places), labels, parse_math=False)
    axes.tick_params(axis="y", length=0, pad=8)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(-0.6, len(panel) - 0.4)
    axes.set_xlabel(_UNIT_AXES[unit])
    axes.set_xlim(*_limits(panel, scale))
    axes.locator_params(axis="x", nbins=5)


def _limits(panel: Sequence[MetricRow], scale: float) -> tuple[float, float]:
    """Return the axis ends, better on the right, with room on the left only where it is needed."""
    sign = 1.0 if panel[0].display.higher_is_better else -1.0
    ends = [sign * scale * value for row in panel for value in (row.low, row.high, row.difference)]
    reach = max(abs(end) for end in ends) or 1.0
    left = min(0.0, *ends) - 0.08 * reach
    right = max(0.0, *ends) + 0.08 * reach
    return sign * left, sign * right
