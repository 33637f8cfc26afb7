"""Reports: one stand-alone page, and the plots in it, from the plain files of a run."""

from __future__ import annotations

from fim.reporting.data import (
    METRIC_DISPLAYS,
    Comparison,
    ContestantRow,
    DataSummary,
    Fact,
    LossPoint,
    MetricDisplay,
    MetricRow,
    ReportData,
    SampleView,
    StageTime,
    display_of,
)
from fim.reporting.differences import Difference, Piece, compare_texts
from fim.reporting.held_out_plot import held_out_plot, write_held_out_plot
from fim.reporting.html import render_report, write_report
from fim.reporting.plots import forest_plot, loss_plot, write_loss_plot
from fim.reporting.run_files import report_from_run
from fim.reporting.samples import choose_items

__all__ = [
    "METRIC_DISPLAYS",
    "Comparison",
    "ContestantRow",
    "DataSummary",
    "Difference",
    "Fact",
    "LossPoint",
    "MetricDisplay",
    "MetricRow",
    "Piece",
    "ReportData",
    "SampleView",
    "StageTime",
    "choose_items",
    "compare_texts",
    "display_of",
    "forest_plot",
    "held_out_plot",
    "loss_plot",
    "render_report",
    "report_from_run",
    "write_held_out_plot",
    "write_loss_plot",
    "write_report",
]
