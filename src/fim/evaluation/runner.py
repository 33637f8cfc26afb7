"""Scoring a contestant on held-out holes: answers, text metrics, gold likelihood."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from fim.evaluation.metrics import STOP_RATE, stopped, text_metrics
from fim.evaluation.samples import (
    SHOWN_PREFIX_CHARS,
    SHOWN_SUFFIX_CHARS,
    EvaluationResult,
    Sample,
    result_of,
)
from fim.inference import NONE, CodeCompleter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fim.inference import CleanUp, GoldScore, StopRule
    from fim.types import Completion, FimExample, Progress


class BatchCompleter(Protocol):
    """Answers many holes: a ``CodeCompleter`` or a floor."""

    def complete_batch(
        self,
        examples: Sequence[FimExample],
        *,
        stop: StopRule | None = None,
        max_new_tokens: int | None = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """Return a completion for every example, in order."""
        ...


class GoldScorer(Protocol):
    """Scores the true middles: a ``CodeCompleter``, whose encoder may be another one's."""

    def score_gold(
        self, examples: Sequence[FimExample], *, progress: Progress | None = None
    ) -> list[GoldScore | None]:
        """Return a score for every example, None where no row can be made."""
        ...


@dataclass(frozen=True, slots=True)
class Contestant:
    """A side of a comparison in a form of its own.

    Args:
        name: What it is called in tables.
        completer: Answers the holes.
        scorer: Scores the true middles; None where there is no model.
        stop: Rule that ends its answers.
        clean: Gold-free clean-up of its answers; None leaves them as they are.
        max_new_tokens: Longest answer; the completer's own limit by default.
    """

    name: str
    completer: BatchCompleter
    scorer: GoldScorer | None = None
    stop: StopRule = NONE
    clean: CleanUp | None = None
    max_new_tokens: int | None = None


def evaluate(
    contestant: Contestant, examples: Sequence[FimExample], progress: Progress | None = None
) -> EvaluationResult:
    """Answer and score every hole.

    Args:
        contestant: Who is scored.
        examples: The holes, with their middles as gold.
        progress: Gets a stage for the answers and, with a scorer, one for the likelihoods.

    Raises:
        EvaluationError: There are no examples.
        MissingExtraError: rapidfuzz is not installed.
        PromptTooLongError: A prompt does not fit.
    """
    completions, scores = _run(contestant, examples, progress)
    samples = [
        _sample(contestant, number, example, completion, score)
        for number, (example, completion, score) in enumerate(
            zip(examples, completions, scores, strict=True)
        )
    ]
    return result_of(contestant.name, samples)


def _run(
    contestant: Contestant, examples: Sequence[FimExample], progress: Progress | None
) -> tuple[Sequence[Completion], Sequence[GoldScore | None]]:
    """Answer and score; a completer that scores itself reads every prompt once for both."""
    completer = contestant.completer
    if isinstance(completer, CodeCompleter) and contestant.scorer is completer:
        with _stage(progress, f"{contestant.name}: completions and likelihood", len(examples)):
            return completer.complete_and_score(
                examples,
                stop=contestant.stop,
                max_new_tokens=contestant.max_new_tokens,
                progress=progress,
            )
    return _complete(contestant, examples, progress), _score(contestant, examples, progress)


@contextmanager
def _stage(progress: Progress | None, name: str, total: int) -> Iterator[None]:
    if progress:
        progress.start(name, total)
    yield
    if progress:
        progress.finish()


def _complete(
    contestant: Contestant, examples: Sequence[FimExample], progress: Progress | None
) -> list[Completion]:
    with _stage(progress, f"{contestant.name}: completions", len(examples)):
        return contestant.completer.complete_batch(
            examples,
            stop=contestant.stop,
            max_new_tokens=contestant.max_new_tokens,
            progress=progress,
        )


def _score(
    contestant: Contestant, examples: Sequence[FimExample], progress: Progress | None
) -> Sequence[GoldScore | None]:
    if contestant.scorer is None:
        return [None] * len(examples)
    with _stage(progress, f"{contestant.name}: likelihood", len(examples)):
        return contestant.scorer.score_gold(examples, progress=progress)


def _sample(
    contestant: Contestant,
    number: int,
    example: FimExample,
    completion: Completion,
    score: GoldScore | None,
) -> Sample:
    output = completion.text
    clean = output
    if contestant.clean is not None:
        clean = contestant.clean.apply(output, example.prefix, example.suffix)
    item = example.id or f"{number:06d}"
    return Sample(
        item=item,
        language=example.language,
        kind=example.span_kind,
        cluster=example.document_id or example.path or item,
        prompt_sha256=hash_of_ids(completion.prompt_ids),
        prefix_tail=example.prefix[-SHOWN_PREFIX_CHARS:],
        suffix_head=example.suffix[:SHOWN_SUFFIX_CHARS],
        gold=example.middle,
        output=output,
        output_clean=clean,
        stop_reason=completion.stop_reason,
        num_tokens=len(completion.token_ids),
        milliseconds=completion.milliseconds,
        metrics={
            **text_metrics(clean, example.middle),
            STOP_RATE: stopped(completion.stop_reason),
        },
        metrics_raw=text_metrics(output, example.middle),
        nll_sum=score.nll_sum_middle if score else None,
        nll_tokens=score.num_middle_tokens if score else 0,
        nll_end=score.nll_end if score else None,
    )


def hash_of_ids(ids: Sequence[int]) -> str:
    """Return the SHA-256 of ids written in decimal with commas; empty for no ids."""
    return hashlib.sha256(",".join(map(str, ids)).encode("ascii")).hexdigest() if ids else ""
