"""A run's held-out figures over its steps, one small axis a figure, as an SVG file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.reporting.data import METRIC_DISPLAYS
from fim.reporting.plots import GAIN, HELD_OUT, WIDE_INCHES, as_svg, new_figure, style_axes
from fim.runs.writing import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

SHOWN = ("nll_per_token", "exact_match", "edit_similarity", "stop_rate")
PANEL_INCHES = 1.25


def held_out_plot(rows: Sequence[Mapping[str, object]], *, kept_step: int = 0) -> str | None:
    """Draw the figures of held-out holes by step; None where none was measured.

    Args:
        rows: Rows of ``metrics.jsonl``.
        kept_step: Step whose weights were kept, marked where it was measured.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    curves = {name: curve for name in SHOWN if (curve := _curve(rows, name))}
    if not curves:
        return None
    figure = new_figure(WIDE_INCHES, PANEL_INCHES * len(curves) + 0.4)
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (name, curve) in zip(panels, curves.items(), strict=True):
        style_axes(axes)
        display = METRIC_DISPLAYS[name]
        axes.plot(list(curve), list(curve.values()), color=HELD_OUT, marker="o", markersize=4)
        if kept_step in curve:
            axes.plot([kept_step], [curve[kept_step]], color=GAIN, marker="o", markersize=7)
        if display.unit != "nats":
            axes.set_ylim(-0.03, 1.03)
        axes.set_title(display.label, fontsize=9, loc="left")
    panels[-1].set_xlabel("optimizer step")
    return as_svg(figure, "held-out")


def write_held_out_plot(
    rows: Sequence[Mapping[str, object]], path: Path, *, kept_step: int = 0
) -> Path | None:
    """Write the plot as a stand-alone SVG file, where there is something to draw.

    Raises:
        MissingExtraError: matplotlib is not installed.
        RunFolderError: The file cannot be written.
    """
    svg = held_out_plot(rows, kept_step=kept_step)
    return None if svg is None else write_text(path, svg + "\n")


def _curve(rows: Sequence[Mapping[str, object]], name: str) -> dict[int, float]:
    """Return a figure by step."""
    return {int(str(row["step"])): float(str(row[name])) for row in rows if _is_number(row, name)}


def _is_number(row: Mapping[str, object], name: str) -> bool:
    return isinstance(row.get(name), int | float)
