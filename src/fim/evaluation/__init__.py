"""Evaluation: metrics, floors, paired statistics, and the comparison of two models."""

from __future__ import annotations

from fim.evaluation.compare import Comparison, MetricComparison, best_form, compare
from fim.evaluation.floors import EMPTY, PREVIOUS_LINE, Floor, best_constant
from fim.evaluation.held_out_holes import hole_measurement
from fim.evaluation.metrics import (
    EDIT_SIMILARITY_FORMULA,
    HIGHER_IS_BETTER,
    edit_similarity,
    exact_match,
    first_line_match,
)
from fim.evaluation.runner import BatchCompleter, Contestant, GoldScorer, evaluate
from fim.evaluation.samples import (
    SAMPLES_FILE,
    EvaluationResult,
    Sample,
    read_samples,
    result_of,
    write_samples,
)
from fim.evaluation.statistics import (
    Interval,
    McNemar,
    PairedSums,
    Rate,
    mcnemar_exact,
    paired_bootstrap,
    paired_ratio_bootstrap,
    verdict,
    wilson,
)
from fim.evaluation.trained_rows import TRAINED_ROWS_FILE, TrainedRows

__all__ = [
    "EDIT_SIMILARITY_FORMULA",
    "EMPTY",
    "HIGHER_IS_BETTER",
    "PREVIOUS_LINE",
    "SAMPLES_FILE",
    "TRAINED_ROWS_FILE",
    "BatchCompleter",
    "Comparison",
    "Contestant",
    "EvaluationResult",
    "Floor",
    "GoldScorer",
    "Interval",
    "McNemar",
    "MetricComparison",
    "PairedSums",
    "Rate",
    "Sample",
    "TrainedRows",
    "best_constant",
    "best_form",
    "compare",
    "edit_similarity",
    "evaluate",
    "exact_match",
    "first_line_match",
    "hole_measurement",
    "mcnemar_exact",
    "paired_bootstrap",
    "paired_ratio_bootstrap",
    "read_samples",
    "result_of",
    "verdict",
    "wilson",
    "write_samples",
]
