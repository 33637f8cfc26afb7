"""The whole path in one command: real code, base scored, fine-tuned, scored again, on one page."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fim.config import InferSettings, ResolvedSettings, Settings
from fim.corpus import stdlib_root
from fim.data import TokenizerView
from fim.evaluation import (
    EMPTY,
    HIGHER_IS_BETTER,
    PREVIOUS_LINE,
    Contestant,
    EvaluationResult,
    MetricComparison,
    Sample,
    best_form,
    compare,
    evaluate,
    verdict,
    write_samples,
)
from fim.evaluation.compare import joint_verdict
from fim.formats import resolve_format
from fim.gathering import EMBEDDED_CORPUS_SOURCE, build_examples
from fim.pipeline import (
    Prepared,
    fit,
    make_encoder,
    make_loader,
    open_run,
    prepare,
    recording,
)
from fim.reporting import choose_items
from fim.results import write_results
from fim.training.meter import peak_memory_mib

if TYPE_CHECKING:
    from fim.model import LoadedModel
    from fim.runs import RunFolder
    from fim.types import FimExample, Progress

LEFT_TO_RIGHT = "left-to-right"
CHAT = "chatml"
TUNED = "tuned"
NUM_SHOWN = 5
MIN_TRAINING_MINUTES = 0.5
REPORT_SECONDS = 10.0
TUNED_SCORING_MARGIN = 1.15
REPORTED_METRICS = ("nll_per_token", "edit_similarity", "exact_match", "stop_rate")
HEADLINE_METRICS = ("nll_per_token", "edit_similarity")
NOTES = (
    "The base is asked left to right (its answer cut at the first line, without the suffix) and by "
    "chat (its Markdown fence removed); every metric compares against the better of the two.",
    "The likelihood is that of the middle's own tokens, the same ones for every contestant; end "
    "tokens are left out, since left to right has none.",
    "Intervals are 95 % paired bootstraps over files. The files are public and the base may have "
    "seen them in pre-training, which helps base and tuned alike.",
    "A small model and a few minutes show the path, not what a large model on a GPU reaches.",
)


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


@dataclass(slots=True)
class StageClock:
    """Wall time by stage, in seconds."""

    started: float = field(default_factory=time.monotonic)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def total(self) -> float:
        """Seconds since the clock was made."""
        return time.monotonic() - self.started

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure a stage."""
        begun = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = time.monotonic() - begun


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
    run = open_run(resolved, out)
    with recording(run):
        with clock.stage("examples"):
            roots = (stdlib_root(),) if corpus is None else (corpus,)
            source = EMBEDDED_CORPUS_SOURCE if corpus is None else str(corpus)
            examples = build_examples(
                roots, resolved.settings, out=run.path / "data", source=source, progress=progress
            )
        with clock.stage("model"):
            prepared = prepare(
                resolved.settings, loader, run=run, examples=examples, progress=progress
            )
            base = loader.load()
        with clock.stage("base scored"):
            results = score_base(base, prepared, progress=progress)
        with clock.stage("training"):
            left = minutes - _reserved_minutes(clock)
            timed = _with_minutes(prepared, max(left, MIN_TRAINING_MINUTES))
            adapted = loader.for_training(base)
            result = fit(adapted, timed, run=run, command=command, progress=progress)
        with clock.stage("tuned scored"):
            tuned = score_tuned(adapted, timed, progress=progress)
        with clock.stage("report"):
            outcome = _outcome(
                run, clock, (*results, tuned), timed, is_default_place=out is None
            )
            _write_evaluation(outcome, timed)
            write_results(
                run,
                model=timed.settings.model.name,
                record=timed.encoder.resolved.record(),
                result=result,
                more=_summary(outcome, command),
            )
    return replace(outcome, seconds=clock.total, stages=dict(clock.seconds))


def score_base(
    base: LoadedModel, prepared: Prepared, *, progress: Progress | None
) -> tuple[EvaluationResult, ...]:
    """Score the trivial floors and the untrained model in each form it can be asked in."""
    from fim.inference import FIRST_LINE, REMOVE_FENCE, CodeCompleter

    settings, holes = prepared.settings, prepared.examples.held_out
    floors = [evaluate(Contestant(floor.name, floor), holes) for floor in (EMPTY, PREVIOUS_LINE)]
    view = TokenizerView(base.tokenizer)
    forms = []
    for name, stop, clean in ((LEFT_TO_RIGHT, FIRST_LINE, None), (CHAT, None, REMOVE_FENCE)):
        encoder = make_encoder(settings, view, resolved_format=resolve_format(name, view))
        completer = CodeCompleter(model=base.model, encoder=encoder, settings=_infer(settings))
        contestant = Contestant(f"base, {name}", completer, completer, clean=clean)
        forms.append(replace(contestant, stop=stop) if stop is not None else contestant)
    return (*floors, *(evaluate(form, holes, progress) for form in forms))


def score_tuned(
    adapted: LoadedModel, prepared: Prepared, *, progress: Progress | None
) -> EvaluationResult:
    """Score the tuned model as it will be served."""
    from fim.inference import CodeCompleter

    adapted.model.eval()  # type: ignore[no-untyped-call]
    completer = CodeCompleter(
        model=adapted.model, encoder=prepared.encoder, settings=_infer(prepared.settings)
    )
    return evaluate(
        Contestant(TUNED, completer, completer), prepared.examples.held_out, progress
    )


def next_commands(outcome: QuickstartOutcome, command: str) -> tuple[str, str]:
    """Return the two commands to try next, as a shell takes them."""
    run = outcome.run
    adapter = () if outcome.is_default_place else ("--adapter", str(run.adapter))
    text = ("--prefix", "def mean(xs): return ", "--suffix", " / len(xs)", "--language", "Python")
    complete = shlex.join((command, "complete", *adapter, *text))
    return complete, shlex.join((command, "report", str(run.path)))


def _reserved_minutes(clock: StageClock) -> float:
    scoring = clock.seconds["base scored"] / 2 * TUNED_SCORING_MARGIN
    return (clock.total + scoring + REPORT_SECONDS) / 60


def _with_minutes(prepared: Prepared, minutes: float) -> Prepared:
    settings = prepared.settings
    train = settings.train.model_copy(update={"max_minutes": minutes})
    return replace(prepared, settings=settings.model_copy(update={"train": train}))


def _infer(settings: Settings) -> InferSettings:
    return settings.infer.model_copy(
        update={
            "max_new_tokens": settings.eval.max_new_tokens,
            "batch_size": settings.eval.batch_size,
            "temperature": 0.0,
        }
    )


def _outcome(
    run: RunFolder,
    clock: StageClock,
    results: Sequence[EvaluationResult],
    prepared: Prepared,
    *,
    is_default_place: bool,
) -> QuickstartOutcome:
    by_name = {result.name: result for result in results}
    tuned = by_name[TUNED]
    forms = [result for result in results if result.name.startswith("base, ")]
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
    compared = compare(
        base, tuned, draws=settings.eval.bootstrap_draws, seed=settings.eval.seed
    )
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


def _write_evaluation(outcome: QuickstartOutcome, prepared: Prepared) -> None:
    run, settings = outcome.run, prepared.settings
    base_name = outcome.gains["edit_similarity"].base_form
    run.write_json(
        run.comparison,
        {
            "suite": "held-out holes of files that training never saw",
            "items": outcome.num_holes,
            "clusters": outcome.num_files,
            "bootstrap_draws": settings.eval.bootstrap_draws,
            "seed": settings.eval.seed,
            "base": _slug(base_name),
            "tuned": TUNED,
            "metrics": {
                name: {
                    **gain.as_json(),
                    "base_name": gain.base_form,
                    "higher_is_better": HIGHER_IS_BETTER[name],
                }
                for name, gain in outcome.gains.items()
            },
            "contestants": [
                {"name": name, "kind": _kind(name), "metrics": dict(result.metrics)}
                for name, result in outcome.contestants.items()
            ],
            "verdict": outcome.verdict,
        },
    )
    examples = {example.id: example for example in prepared.examples.held_out}
    for name, result in outcome.contestants.items():
        write_samples(run.eval / f"{_slug(name)}.scored.jsonl", result.samples)
        run.write_jsonl(
            run.eval / f"{_slug(name)}.samples.jsonl",
            (_shown_row(sample, examples[sample.item]) for sample in result.samples),
        )
    run.write_jsonl(run.samples, [asdict(shown) for shown in outcome.shown])


def _shown_row(sample: Sample, example: FimExample) -> dict[str, object]:
    return {
        "item": sample.item,
        "document_id": sample.cluster,
        "path": example.path or "",
        "language": sample.language,
        "kind": sample.kind,
        "prefix": sample.prefix_tail,
        "suffix": sample.suffix_head,
        "gold": sample.gold,
        "output": sample.output_clean,
        "stop_reason": sample.stop_reason,
    }


def _summary(outcome: QuickstartOutcome, command: str) -> dict[str, object]:
    commands = next_commands(outcome, command)
    return {
        "title": "Base against tuned",
        "stages": [
            {"name": name, "seconds": seconds} for name, seconds in outcome.stages.items()
        ],
        "seconds": outcome.seconds,
        "peak_memory_mib": outcome.peak_memory_mib,
        "notes": list(NOTES),
        "commands": list(commands),
    }


def _kind(name: str) -> str:
    if name == TUNED:
        return "tuned"
    return "base" if name.startswith("base, ") else "floor"


def _slug(name: str) -> str:
    return "-".join("".join(char if char.isalnum() else " " for char in name).split())
