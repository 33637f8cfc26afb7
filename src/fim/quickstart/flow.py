"""The stages of a quickstart, in order and within a budget of minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fim.bookkeeping import open_run, recording
from fim.config import ResolvedSettings, Settings
from fim.corpus import stdlib_root
from fim.gathering import EMBEDDED_CORPUS_SOURCE, Examples, build_examples
from fim.logger import get_logger
from fim.pipeline import Prepared, fit, make_loader, prepare
from fim.quickstart.clock import StageClock
from fim.quickstart.contestants import score_base, score_tuned, seconds_per_hole
from fim.quickstart.files import summary_of, write_evaluation
from fim.quickstart.outcome import QuickstartOutcome, make_outcome
from fim.quickstart.sizing import affordable_holes, spread
from fim.results import write_results

if TYPE_CHECKING:
    from fim.runs import RunFolder
    from fim.types import Progress

MIN_TRAINING_MINUTES = 0.5
REPORT_SECONDS = 10.0
NUM_LOSS_ROWS = 16
TUNED_SCORING_MARGIN = 1.15


def run_quickstart(
    resolved: ResolvedSettings,
    *,
    minutes: float,
    out: Path | None = None,
    corpus: Path | None = None,
    command: str = "fim",
    progress: Progress | None = None,
) -> QuickstartOutcome:
    """Build examples, score the base, fine-tune, score again, and write the report.

    The training gets what the other stages leave of the minutes.

    Args:
        resolved: Settings with their sources; the preset ``cpu`` is meant.
        minutes: Wall time for everything.
        out: The run folder; None makes one under ``train.output_dir``.
        corpus: Code to learn from in place of the Python standard library.
        command: How ``fim`` is called, for the commands that are printed.
        progress: Told of every stage.

    Raises:
        FimError: Anything in the way.
    """
    clock = StageClock()
    loader = make_loader(resolved.settings)
    loader.check()
    loader.check_parts()
    run = open_run(resolved, out)
    with recording(run):
        with clock.stage("examples"):
            examples = _examples(resolved.settings, run, corpus, progress)
        with clock.stage("model"):
            prepared = prepare(
                resolved.settings, loader, run=run, examples=examples, progress=progress
            )
            base = loader.load()
        with clock.stage("speed tried"):
            speed = seconds_per_hole(base, prepared, progress=progress)
            prepared = _with_affordable_holes(prepared, speed, minutes * 60 - clock.total)
        with clock.stage("base scored"):
            results = score_base(base, prepared, progress=progress)
        with clock.stage("training"):
            prepared = _with_minutes(prepared, minutes - _reserved_minutes(clock))
            adapted = loader.for_training(base)
            result = fit(adapted, prepared, run=run, command=command, progress=progress)
        with clock.stage("tuned scored"):
            results = (*results, score_tuned(adapted, prepared, progress=progress))
        with clock.stage("report"):
            outcome = make_outcome(
                run, results, prepared, clock=clock, is_default_place=out is None
            )
            write_evaluation(outcome, prepared)
            more = summary_of(outcome, command)
            record = prepared.encoder.resolved.record()
            name = prepared.settings.model.name
            write_results(run, model=name, record=record, result=result, more=more)
    return replace(outcome, seconds=clock.total, stages=dict(clock.seconds))


def _examples(
    settings: Settings, run: RunFolder, corpus: Path | None, progress: Progress | None
) -> Examples:
    return build_examples(
        (stdlib_root() if corpus is None else corpus,),
        settings,
        out=run.path / "data",
        source=EMBEDDED_CORPUS_SOURCE if corpus is None else str(corpus),
        progress=progress,
    )


def _with_affordable_holes(prepared: Prepared, speed: float, seconds_left: float) -> Prepared:
    """Return the same with the held-out holes that this machine can score in time."""
    held_out = prepared.examples.held_out
    number = affordable_holes(len(held_out), seconds_per_hole=speed, seconds_left=seconds_left)
    if number == len(held_out):
        return prepared
    get_logger(__name__).info(
        "%d of %d held-out holes are scored, evenly spread: this machine has no time for more",
        number,
        len(held_out),
    )
    examples = replace(prepared.examples, held_out=spread(held_out, number))
    return replace(prepared, examples=examples)


def _reserved_minutes(clock: StageClock) -> float:
    scoring = clock.seconds["base scored"] * TUNED_SCORING_MARGIN
    return (clock.total + scoring + REPORT_SECONDS) / 60


def _with_minutes(prepared: Prepared, minutes: float) -> Prepared:
    """Return the same with an end, and few rows for the loss, since all holes are scored later."""
    settings, eval_set = prepared.settings, prepared.eval_set
    left = max(minutes, MIN_TRAINING_MINUTES)
    train = settings.train.model_copy(update={"max_minutes": left})
    if eval_set is not None:
        distance = max(1, len(eval_set.rows) // NUM_LOSS_ROWS)
        eval_set = replace(eval_set, rows=eval_set.rows[::distance])
    settings = settings.model_copy(update={"train": train})
    return replace(prepared, settings=settings, eval_set=eval_set)
