"""Which holes an evaluation is about, and the training examples to hold them against."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fim.corpus import MANIFEST_FILE
from fim.data import BY_SEED, Division, divide, load_sides
from fim.errors import EmptyDatasetError, EvaluationError
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
    from pathlib import Path

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
    found = divide(load_sides(path, settings=data), settings=data)
    if not found.held_out.examples:
        raise _nothing_held_out(path, found)
    facts: dict[str, object] = {
        "source": path.name,
        "split": _rule(path, found),
        "sides": found.as_json(),
    }
    return found.held_out.examples, found.train.examples, facts


def _rule(path: Path, found: Division) -> str:
    """Return in words what decided which rows are held out."""
    if (path / MANIFEST_FILE).is_file():
        return "by the built set"
    if found.rule == BY_SEED:
        return "as fim train splits this file"
    return "by the rows" if found.train.words else "by the names of files"


def _nothing_held_out(path: Path, found: Division) -> EmptyDatasetError:
    return EmptyDatasetError(
        f"none of the {len(found.train.examples)} rows of {path} is held out, so each of them may "
        "have been trained on and nothing can be measured",
        hint="put rows that are not trained on into a file of their own, and score that: fim eval "
        "run --suite own --data test.jsonl --out eval/own",
        context={"sides": found.as_json()},
    )


def _train_beside(settings: Settings, request: EvaluationRequest) -> tuple[FimExample, ...]:
    if request.data is None:
        return ()
    data = settings.data
    return divide(load_sides(request.data, settings=data), settings=data).train.examples
