"""The composition of evaluations: a suite and a contestant in, a scored folder out.

``run_evaluation`` is the whole path of ``fim eval run``, ``rescore_folder`` that of
``fim eval rescore``: both end in the same scoring, so the same samples give the same bytes.
"""

from __future__ import annotations

from fim.evaluating.flow import EvaluationOutcome, rescore_folder, run_evaluation
from fim.evaluating.request import EvaluationRequest

__all__ = ["EvaluationOutcome", "EvaluationRequest", "rescore_folder", "run_evaluation"]
