"""From a request to a scored folder, and from its samples to the same figures again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.adapters import trained_folder_of
from fim.errors import EvaluationError, InterruptedRunError
from fim.evaluating.contestant import ask, make_contestant, trained_folder
from fim.evaluating.request import EvaluationRequest, identity_of
from fim.evaluating.suites import load_suite
from fim.evaluation.folder import EvaluationFolder
from fim.evaluation.leaks import DECIDING, UNKNOWN, find_leaks
from fim.evaluation.sandbox import Outcome, Program, Sandbox, describe_outcomes
from fim.evaluation.scoring import (
    execute_samples,
    gold_program,
    make_sample,
    rescore_samples,
    summarise,
)
from fim.evaluation.suites import TEST_PART, Suite, SuiteItem, rule_named
from fim.evaluation.trained_rows import find_trained_rows
from fim.logger import get_logger
from fim.runs import collect_environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fim.config import ResolvedSettings
    from fim.types import FimExample, Progress


BATCHES_UNTIL_WRITTEN = 4
MAX_SCRIPTS_THAT_FAIL = 0.05
_log = get_logger("evaluating")
LATE = frozenset({"timeout", "killed"})


@dataclass(frozen=True, slots=True)
class EvaluationOutcome:
    """A finished evaluation."""

    folder: EvaluationFolder
    suite: str
    result: Mapping[str, object]

    def as_json(self) -> dict[str, object]:
        """Return what ``fim eval run --json`` prints."""
        leaks = self.folder.facts().get("leaks")
        more = {"leaks": leaks} if leaks is not None else {}
        return {"out": str(self.folder.path), **self.result, **more}


def run_evaluation(
    resolved: ResolvedSettings, request: EvaluationRequest, *, progress: Progress | None = None
) -> EvaluationOutcome:
    """Answer and score every hole of a suite; go on at the next one after an interruption.

    Args:
        resolved: Settings with their sources.
        request: What to evaluate.
        progress: Told of every stage.

    Raises:
        EvaluationError: The gold answers fail, or the folder holds another evaluation.
        InterruptedRunError: Ctrl-C; what was answered is kept.
        FimError: Data, model or server cannot be used.
    """
    if request.adapter is not None:
        request = replace(request, adapter=trained_folder_of(request.adapter))
    suite, train = load_suite(resolved.settings, request)
    folder = EvaluationFolder(request.out)
    sandbox = Sandbox()
    identity = identity_of(resolved, request, suite)
    folder.open(identity, _facts(suite, sandbox))
    try:
        _check_gold(folder, suite, sandbox, request.workers, progress)
        _answer_all(resolved, request, suite, folder, progress)
        samples = execute_samples(
            folder.read(), sandbox, workers=request.workers, progress=progress
        )
    except KeyboardInterrupt as interrupt:
        raise InterruptedRunError(
            f"stopped; the answers so far are kept in {folder.samples}",
            hint="run the same command again: it goes on at the next hole",
        ) from interrupt
    places = {item.example.id: place for place, item in enumerate(suite.items)}
    folder.replace(sorted(samples, key=lambda sample: places[sample.item]))
    _look_for_leaks(folder, suite, train, trained_folder(resolved, request))
    return rescore_folder(folder.path)


def rescore_folder(path: Path) -> EvaluationOutcome:
    """Compute all metrics of a folder anew from its samples; no model is needed.

    Raises:
        EvaluationError: The folder holds no evaluation.
        MissingExtraError: rapidfuzz is not installed.
    """
    folder = EvaluationFolder(path)
    identity = folder.identity()
    samples = rescore_samples(folder.read(), rule=str(identity.get("rule", "")))
    folder.replace(samples)
    name, suite = str(identity.get("name", "")), str(identity.get("suite", ""))
    result = {"suite": suite, "name": name, **summarise(samples, name)}
    folder.write_result(result)
    return EvaluationOutcome(folder, suite, result)


def _look_for_leaks(
    folder: EvaluationFolder,
    suite: Suite,
    train: Sequence[FimExample],
    trained_in: Path | None,
) -> None:
    """Keep what was found of the scored holes in training text, and say what voids the figures.

    Nothing is kept where neither training rows nor a trained model are given.
    """
    if not train and trained_in is None:
        return
    if "leaks" not in folder.facts():
        tested = [item for item in suite.items if item.part == TEST_PART]
        trained = None if trained_in is None else find_trained_rows(trained_in)
        report = find_leaks(tested, train, trained=trained, is_adapter=trained_in is not None)
        folder.add_facts({"leaks": report.as_json()})
    leaks = folder.facts().get("leaks")
    told = leaks if isinstance(leaks, dict) else {}
    if told.get("is_leaking") == UNKNOWN:
        _log.warning(
            "%s does not say what it was trained on, so it is unknown whether these holes were in "
            "its training",
            trained_in,
        )
    elif told.get("is_leaking"):
        counts = {name: told["counts"][name] for name in DECIDING if told["counts"].get(name)}
        listed = ", ".join(f"{name.replace('_', ' ')}: {counts[name]}" for name in counts)
        _log.warning("held-out code was trained on, so the figures are void (%s)", listed)


def _facts(suite: Suite, sandbox: Sandbox) -> dict[str, object]:
    return {
        "title": suite.title,
        "primary": suite.primary,
        "rule_meaning": rule_named(suite.rule).meaning if suite.rule else "",
        "suite_facts": dict(suite.facts),
        "sandbox": sandbox.walls.describe() if suite.is_executed else None,
        "environment": collect_environment(),
    }


def _check_gold(
    folder: EvaluationFolder,
    suite: Suite,
    sandbox: Sandbox,
    workers: int | None,
    progress: Progress | None,
) -> None:
    """Refuse a suite whose true answers do not score 100 % after its own rules.

    By SAFIM's own rule a true answer passes unrun, so a few of its scripts may fail here; they are
    counted.

    Raises:
        EvaluationError: Some fail.
    """
    if "gold" in folder.facts():
        return
    failed = _failing_by_rule(suite)
    counts: dict[str, int] = {}
    if suite.is_executed:
        programs = {item.example.id: gold_program(item) for item in suite.items}
        asked = {name: program for name, program in programs.items() if program is not None}
        if progress:
            progress.start("true answers run in the sandbox", len(asked))
        outcomes = sandbox.run_many(list(asked.values()), workers=workers, progress=progress)
        if progress:
            progress.finish()
        outcomes = _again_where_late(sandbox, list(asked.values()), outcomes)
        counts = describe_outcomes(outcomes)
        bad = {
            name: f"{name} ({outcome.reason})"
            for name, outcome in zip(asked, outcomes, strict=True)
            if not outcome.has_passed
        }
        scripts = [name for name in bad if asked[name].check.cases]
        if len(scripts) <= MAX_SCRIPTS_THAT_FAIL * len(asked):
            bad = {name: told for name, told in bad.items() if name not in scripts}
        failed += bad.values()
    if failed:
        raise EvaluationError(
            f"{len(failed)} of {len(suite.items)} true answers of {suite.name} do not score, for "
            f"example {', '.join(failed[:3])}; a perfect model would not reach 100 % either",
            hint="check that this is the published file, and fim doctor for the sandbox",
            context={"failed": failed[:20]},
        )
    folder.add_facts({"gold": {"items": len(suite.items), "share": 1.0, "outcomes": counts}})


def _again_where_late(
    sandbox: Sandbox, programs: Sequence[Program], outcomes: Sequence[Outcome]
) -> list[Outcome]:
    """Run true answers that were late once more, one at a time: a loaded machine is no failure."""
    found = list(outcomes)
    late = [place for place, outcome in enumerate(outcomes) if outcome.reason in LATE]
    again = sandbox.run_many([programs[place] for place in late], workers=1) if late else []
    for place, outcome in zip(late, again, strict=True):
        found[place] = outcome
    return found


def _failing_by_rule(suite: Suite) -> list[str]:
    if not suite.rule:
        return []
    rule = rule_named(suite.rule)
    return [
        item.example.id
        for item in suite.items
        if rule.score(item.example.middle, item.example.middle, item.example.language) != 1.0
    ]


def _pending(suite: Suite, folder: EvaluationFolder) -> list[SuiteItem]:
    answered = folder.answered()
    left = [item for item in suite.items if item.example.id not in answered]
    return sorted(left, key=lambda item: -len(item.example.prefix) - len(item.example.suffix))


def _answer_all(
    resolved: ResolvedSettings,
    request: EvaluationRequest,
    suite: Suite,
    folder: EvaluationFolder,
    progress: Progress | None,
) -> None:
    """Answer the holes that have no sample yet, the longest prompts first, some batches at a time.

    Within them, holes take the place of those that are answered.
    """
    pending = _pending(suite, folder)
    if not pending:
        return
    asked = make_contestant(resolved, request, suite)
    folder.add_facts({"asked": dict(asked.facts)})
    size = BATCHES_UNTIL_WRITTEN * resolved.settings.eval.batch_size
    done = len(suite.items) - len(pending)
    if progress:
        progress.start("answers", len(suite.items))
    for start in range(0, len(pending), size):
        items = pending[start : start + size]
        completions, scores = ask(asked, request, items)
        folder.append(
            [
                make_sample(item, answers, score)
                for item, answers, score in zip(items, completions, scores, strict=True)
            ]
        )
        if progress:
            progress.advance(done + start + len(items))
    if progress:
        progress.finish()
