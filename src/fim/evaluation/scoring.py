"""From answers to samples, and from samples to metrics without any model."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from fim.corpus.syntax import Grammars
from fim.evaluation.code_metrics import CLEAN_ENDING, PASS_AT_1, answer_metrics
from fim.evaluation.metrics import STOP_RATE, stopped, text_metrics
from fim.evaluation.runner import hash_of_ids
from fim.evaluation.samples import SHOWN_PREFIX_CHARS, SHOWN_SUFFIX_CHARS, Sample, result_of
from fim.evaluation.sandbox import Program, Sandbox
from fim.evaluation.statistics import wilson
from fim.evaluation.suites import SUITE_SCORE, TEST_PART, Check, rule_named
from fim.inference import drop_overlap

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.evaluation.suites import SuiteItem
    from fim.inference import GoldScore
    from fim.types import Completion, Progress

RAW, CLEAN = "raw", "clean"


def make_sample(
    item: SuiteItem, completions: Sequence[Completion], score: GoldScore | None
) -> Sample:
    """Return the unscored sample of an item: everything that was asked and answered.

    Args:
        item: The hole.
        completions: Its answers; the first is the one that is compared.
        score: Likelihood of the gold text.
    """
    example, first = item.example, completions[0]
    output = first.text
    return Sample(
        item=example.id,
        language=example.language,
        kind=item.kind,
        cluster=item.cluster,
        prompt_sha256=hash_of_ids(first.prompt_ids),
        prefix_tail=example.prefix[-SHOWN_PREFIX_CHARS:],
        suffix_head=example.suffix[:SHOWN_SUFFIX_CHARS],
        gold=example.middle,
        output=output,
        output_clean=drop_overlap(output, example.prefix, example.suffix),
        stop_reason=first.stop_reason,
        num_tokens=len(first.token_ids),
        milliseconds=round(first.milliseconds, 3),
        metrics={},
        nll_sum=score.nll_sum_middle if score else None,
        nll_tokens=score.num_middle_tokens if score else 0,
        nll_end=score.nll_end if score else None,
        part=item.part,
        path=example.path or "",
        prefix=example.prefix,
        suffix=example.suffix,
        check=item.check.as_json() if item.check else None,
        draws=[completion.text for completion in completions[1:]],
    )


def gold_program(item: SuiteItem) -> Program | None:
    """Return the program of an item with its gold text in it; None where it is not executable."""
    if item.check is None:
        return None
    example = item.example
    return Program(example.prefix + example.middle + example.suffix, item.check)


def execute_samples(
    samples: Sequence[Sample],
    sandbox: Sandbox,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
) -> list[Sample]:
    """Run the answers of executable samples that have no verdict yet; equal programs run once.

    Args:
        samples: Samples; those without a check or with a verdict come back as they are.
        sandbox: Where programs run.
        workers: Programs at a time.
        progress: Gets a stage.
    """
    programs: dict[Program, None] = {}
    for sample in samples:
        if sample.passed is None:
            programs.update(dict.fromkeys(_programs(sample)))
    if not programs:
        return list(samples)
    if progress:
        progress.start("answers run in the sandbox", len(programs))
    ordered = list(programs)
    outcomes = sandbox.run_many(ordered, workers=workers, progress=progress)
    if progress:
        progress.finish()
    passed = {
        program: outcome.has_passed for program, outcome in zip(ordered, outcomes, strict=True)
    }
    return [_with_verdict(sample, passed) for sample in samples]


def rescore_samples(samples: Sequence[Sample], *, rule: str = "") -> list[Sample]:
    """Compute every metric anew from what the samples hold; verdicts of programs are kept.

    Args:
        samples: Samples with full prefix and suffix.
        rule: The suite's own scoring rule; empty for none.

    Raises:
        EvaluationError: There is no such rule.
        MissingExtraError: rapidfuzz is not installed.
    """
    grammars = Grammars()
    scored = rule_named(rule) if rule else None
    found = []
    for sample in samples:
        metrics = answer_metrics(
            sample.output,
            gold=sample.gold,
            prefix=sample.prefix,
            suffix=sample.suffix,
            language=sample.language,
            grammars=grammars,
        )
        metrics[STOP_RATE] = stopped(sample.stop_reason)
        if scored is not None:
            metrics[SUITE_SCORE] = scored.score(sample.output, sample.gold, sample.language)
        if sample.passed is not None:
            metrics |= _pass_metrics(sample)
        clean = drop_overlap(sample.output, sample.prefix, sample.suffix)
        found.append(
            replace(
                sample,
                metrics=metrics,
                metrics_raw=text_metrics(sample.output, sample.gold),
                output_clean=clean,
            )
        )
    return found


def summarise(samples: Sequence[Sample], name: str) -> dict[str, object]:
    """Return the metrics of the held-out samples, rates with Wilson intervals, times and parts.

    Raises:
        EvaluationError: There are no samples.
    """
    tested = [sample for sample in samples if sample.part == TEST_PART]
    result = result_of(name, tested)
    parts = sorted({sample.part for sample in samples} - {TEST_PART})
    summary: dict[str, object] = {
        "items": len(tested),
        "metrics": dict(result.metrics),
        "rates": rates_of(tested),
        "pass_at_k": pass_at_k(tested),
        "tokens": sum(sample.num_tokens for sample in tested),
        "milliseconds": percentiles([sample.milliseconds for sample in tested]),
        "parts": {
            part: _part(name, [sample for sample in samples if sample.part == part])
            for part in parts
        },
    }
    return summary


def pass_at_k(samples: Sequence[Sample]) -> dict[str, float]:
    """Return pass@k for every k up to the number of answers per hole, ``1 - C(n-c, k) / C(n, k)``.

    Source: Chen et al. 2021.
    """
    drawn = [
        [bool(sample.passed["raw"]), *sample.draws_passed]
        for sample in samples
        if sample.passed is not None
    ]
    if not drawn:
        return {}
    most = min(len(passed) for passed in drawn)
    found = {}
    for k in range(1, most + 1):
        shares = [
            1 - math.comb(len(passed) - sum(passed), k) / math.comb(len(passed), k)
            for passed in drawn
        ]
        found[str(k)] = sum(shares) / len(shares)
    return found


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """Return the 50th, 90th and 99th percentile, each one of the values."""
    ordered = sorted(values)
    if not ordered:
        return {}
    last = len(ordered) - 1
    return {
        f"p{share}": ordered[min(last, math.ceil(share / 100 * len(ordered)) - 1)]
        for share in (50, 90, 99)
    }


def _part(name: str, samples: Sequence[Sample]) -> dict[str, object]:
    return {"items": len(samples), "metrics": dict(result_of(name, samples).metrics)}


def rates_of(samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return the right-or-wrong metrics with their Wilson intervals."""
    found = {}
    for name in ("exact_match", "first_line_match", STOP_RATE, PASS_AT_1):
        values = [sample.metrics[name] for sample in samples if name in sample.metrics]
        if values:
            rate = wilson(round(sum(values)), len(values))
            found[name] = {"rate": rate.rate, "low": rate.low, "high": rate.high}
    return found


def _pass_metrics(sample: Sample) -> dict[str, float]:
    passed: Mapping[str, bool] = sample.passed or {}
    return {
        PASS_AT_1: float(passed[RAW]),
        f"{PASS_AT_1}{CLEAN_ENDING}": float(passed[CLEAN]),
    }


def _programs(sample: Sample) -> list[Program]:
    if sample.check is None:
        return []
    check = Check.from_json(sample.check)
    answers = (sample.output, sample.output_clean, *sample.draws)
    return [Program(sample.prefix + answer + sample.suffix, check) for answer in answers]


def _with_verdict(sample: Sample, passed: Mapping[Program, bool]) -> Sample:
    """Give a sample its verdicts; an answer to a script that equals the truth passes in any case.

    The latter is SAFIM's own rule.
    """
    programs = _programs(sample)
    if not programs or sample.passed is not None:
        return sample
    answers = (sample.output, sample.output_clean, *sample.draws)
    raw, clean, *draws = (
        passed[program] or (bool(program.check.cases) and answer == sample.gold)
        for program, answer in zip(programs, answers, strict=True)
    )
    return replace(sample, passed={RAW: raw, CLEAN: clean}, draws_passed=draws)
