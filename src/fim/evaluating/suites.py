"""Which holes an evaluation is about, and the training examples to hold them against."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fim.corpus import MANIFEST_FILE
from fim.data import load_examples, split_examples
from fim.errors import EvaluationError
from fim.evaluation.probe import probe_items
from fim.evaluation.suites import (
    FILE_SUITES,
    HUMANEVAL_SUITES,
    OWN,
    SUITE_NAMES,
    Suite,
    choose_by_seed,
    humaneval_suite,
    load_published,
    own_suite,
)

if TYPE_CHECKING:
    from fim.config import Settings
    from fim.evaluating.request import EvaluationRequest
    from fim.types import FimExample


def load_suite(
    settings: Settings, request: EvaluationRequest
) -> tuple[Suite, tuple[FimExample, ...]]:
    """Return the suite of a request and the training examples to hold it against.

    Raises:
        EvaluationError: There is no such suite, or it needs a file.
        DataError: Its data cannot be used.
    """
    seed = settings.eval.seed
    train: tuple[FimExample, ...] = ()
    if request.suite == OWN:
        held_out, train, facts = _own_examples(settings, request)
        suite = own_suite(
            held_out,
            train=train,
            num_holes=request.limit,
            num_train_holes=request.train_holes,
            seed=seed,
            facts=facts,
        )
    elif request.suite in HUMANEVAL_SUITES:
        suite = humaneval_suite(request.suite, seed=seed, per_problem=request.per_problem)
        if request.limit is not None:
            suite = replace(suite, items=choose_by_seed(suite.items, request.limit, seed))
        train = _train_beside(settings, request)
    elif request.suite in FILE_SUITES:
        token = settings.hf.token
        suite = load_published(
            request.suite,
            request.data,
            part=request.part,
            token=None if token is None else token.get_secret_value(),
            limit=request.limit,
            seed=seed,
        )
    else:
        raise EvaluationError(
            f"there is no suite {request.suite!r}",
            hint=f"use one of: {', '.join(SUITE_NAMES)}",
        )
    if request.is_probed:
        suite = replace(suite, items=(*suite.items, *probe_items(suite.items)))
    return suite, train


def _own_examples(
    settings: Settings, request: EvaluationRequest
) -> tuple[tuple[FimExample, ...], tuple[FimExample, ...], dict[str, object]]:
    data = settings.data
    path = request.data or data.path
    if path is None:
        raise EvaluationError(
            "the suite own needs examples, and none were given",
            hint="fim data build PATH... --out data, then fim eval run --suite own --data data",
        )
    facts: dict[str, object] = {"source": path.name}
    if (path / MANIFEST_FILE).is_file():
        held_out = load_examples(path, settings=data, split="held_out").examples
        train = load_examples(path, settings=data).examples
        return held_out, train, {**facts, "split": "by the built set"}
    rows = load_examples(path, settings=data).examples
    if any(row.split for row in rows):
        held_out = tuple(row for row in rows if row.split == "held_out")
        train = tuple(row for row in rows if row.split == "train")
        return held_out, train, {**facts, "split": "by the rows"}
    train, held_out = split_examples(rows, held_out_fraction=data.held_out_fraction, seed=data.seed)
    return held_out, train, {**facts, "split": "as fim train splits this file"}


def _train_beside(settings: Settings, request: EvaluationRequest) -> tuple[FimExample, ...]:
    path = request.data
    return () if path is None else load_examples(path, settings=settings.data).examples
