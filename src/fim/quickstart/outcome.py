"""What a quickstart found, and the comparison behind it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.config import Settings
from fim.evaluation import (
    HIGHER_IS_BETTER,
    EvaluationResult,
    MetricComparison,
    best_form,
    compare,
    verdict,
)
from fim.evaluation.compare import joint_verdict
from fim.pipeline import Prepared
from fim.quickstart.clock import StageClock
from fim.quickstart.contestants import TUNED, kind_of
from fim.reporting import choose_items
from fim.training.meter import peak_memory_mib

if TYPE_CHECKING:
    from fim.runs import RunFolder

NUM_SHOWN = 5
REPORTED_METRICS = ("nll_per_token", "edit_similarity", "exact_match", "stop_rate")
HEADLINE_METRICS = ("nll_per_token", "edit_similarity")


@dataclass(frozen=True, slots=True)
class MetricGain:
    """A metric of the base in its best form and of the tuned model on the same holes."""

    base_form: str
    found: MetricComparison

    def as_json(self) -> dict[str, float]:
        """Return base, tuned and the difference with its 95 % interval."""
        found = self.found
        return {
            "base": found.a,
            "tuned": found.b,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
        }


@dataclass(frozen=True, slots=True)
class ShownHole:
    """A hole with its true text and both answers."""

    path: str
    kind: str
    prefix_tail: str
    gold: str
    base: str
    tuned: str


@dataclass(frozen=True, slots=True)
class QuickstartOutcome:
    """What a quickstart found.

    Args:
        run: The run folder.
        seconds: Wall time of everything.
        stages: Wall time by stage, in seconds.
        num_holes: Held-out holes that were scored.
        num_files: Files they come from.
        gains: Comparison by metric.
        contestants: Everything that was scored, by name.
        shown: Five holes chosen by seed.
        verdict: ``better``, ``worse`` or ``not enough to tell``.
        peak_memory_mib: Most memory that the process held.
        is_default_place: The run lies where ``fim complete`` looks for the newest one.
    """

    run: RunFolder
    seconds: float
    stages: Mapping[str, float]
    num_holes: int
    num_files: int
    gains: Mapping[str, MetricGain]
    contestants: Mapping[str, EvaluationResult]
    shown: tuple[ShownHole, ...]
    verdict: str
    peak_memory_mib: float
    is_default_place: bool

    def as_json(self) -> dict[str, object]:
        """Return what ``fim quickstart --json`` prints."""
        return {
            "run": str(self.run.path),
            "seconds": round(self.seconds, 1),
            "stages": {name: round(value, 1) for name, value in self.stages.items()},
            "peak_memory_mib": round(self.peak_memory_mib),
            "holes": self.num_holes,
            "files": self.num_files,
            "metrics": {name: gain.as_json() for name, gain in self.gains.items()},
            "verdict": self.verdict,
            "report": str(self.run.report),
        }


def next_commands(outcome: QuickstartOutcome, command: str) -> tuple[str, str]:
    """Return the two commands to try next, as a shell takes them."""
    run = outcome.run
    adapter = () if outcome.is_default_place else ("--adapter", f"{run.shown_path}/adapter")
    text = ("--prefix", "def mean(xs): return ", "--suffix", " / len(xs)", "--language", "Python")
    complete = shlex.join((command, "complete", *adapter, *text))
    return complete, shlex.join((command, "report", run.shown_path))


def make_outcome(
    run: RunFolder,
    results: Sequence[EvaluationResult],
    prepared: Prepared,
    *,
    clock: StageClock,
    is_default_place: bool,
) -> QuickstartOutcome:
    """Compare the tuned model with the base in its best form, metric by metric."""
    by_name = {result.name: result for result in results}
    tuned = by_name[TUNED]
    forms = [
        result
        for result in results
        if kind_of(result.name) == "base" and len(result.samples) == len(tuned.samples)
    ]
    gains = {
        name: _gain(name, forms, tuned, prepared.settings)
        for name in REPORTED_METRICS
        if name in tuned.metrics
    }
    verdicts = [
        verdict(gains[name].found.interval, higher_is_better=HIGHER_IS_BETTER[name])
        for name in HEADLINE_METRICS
    ]
    shown_base = by_name[gains["edit_similarity"].base_form]
    return QuickstartOutcome(
        run=run,
        seconds=clock.total,
        stages=dict(clock.seconds),
        num_holes=len(tuned.samples),
        num_files=len({sample.cluster for sample in tuned.samples}),
        gains=gains,
        contestants=by_name,
        shown=_shown(shown_base, tuned, prepared),
        verdict=joint_verdict(verdicts),
        peak_memory_mib=peak_memory_mib("cpu"),
        is_default_place=is_default_place,
    )


def _gain(
    name: str,
    forms: Sequence[EvaluationResult],
    tuned: EvaluationResult,
    settings: Settings,
) -> MetricGain:
    base = best_form(forms, name)
    compared = compare(base, tuned, draws=settings.eval.bootstrap_draws, seed=settings.eval.seed)
    return MetricGain(base.name, compared.metrics[name])


def _shown(
    base: EvaluationResult, tuned: EvaluationResult, prepared: Prepared
) -> tuple[ShownHole, ...]:
    documents = {sample.item: sample.cluster for sample in tuned.samples}
    chosen = choose_items(documents, seed=prepared.settings.eval.seed, num_items=NUM_SHOWN)
    paths = {example.id: example.path or "" for example in prepared.examples.held_out}
    bases = {sample.item: sample for sample in base.samples}
    answers = {sample.item: sample for sample in tuned.samples}
    return tuple(
        ShownHole(
            path=paths.get(item, ""),
            kind=answers[item].kind,
            prefix_tail=answers[item].prefix_tail,
            gold=answers[item].gold,
            base=bases[item].output_clean,
            tuned=answers[item].output_clean,
        )
        for item in chosen
    )
