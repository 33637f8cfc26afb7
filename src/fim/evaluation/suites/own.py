"""The suite ``own``: held-out holes of the user's own code, by language and kind."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from fim.errors import EmptyDatasetError
from fim.evaluation.metrics import EDIT_SIMILARITY
from fim.evaluation.suites.base import (
    TEST_PART,
    TRAIN_PART,
    Suite,
    SuiteItem,
    choose_by_seed,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.types import FimExample

OWN = "own"
NEAR_CHARS = 1_000
MIN_REPEATED_CHARS = 20
MID_TOKEN = "mid-token"  # noqa: S105
_KINDS = {
    "line_end": "rest of line",
    "characters": "random span",
    "lines": "whole lines",
    "to_blank_line": "to blank line",
    "syntax:arguments": "call arguments",
    "syntax:block": "block",
}
_CLOSERS = re.compile(r"[\s()\[\]{};,]*")
_COMMENT = re.compile(r"\s*(#|//|/\*|\*|--)")
_IMPORT = re.compile(r"\s*(import|from|#include|using|require|package|use)\b")


def hole_kind(example: FimExample) -> str:
    """Return the kind of a hole as people say it; a cut inside a word makes it ``mid-token``."""
    is_inside_word = (
        _is_word(example.prefix[-1:])
        and _is_word(example.middle[:1])
        and not example.span_kind.startswith("syntax:")
    )
    if is_inside_word:
        return MID_TOKEN
    known = _KINDS.get(example.span_kind)
    return known or example.span_kind.removeprefix("syntax:").replace("_", " ") or "hole"


def reason_to_drop(example: FimExample) -> str | None:
    """Return why a hole says nothing about a model; None where it does."""
    gold = example.middle
    if not gold.strip():
        return "blank"
    if _CLOSERS.fullmatch(gold):
        return "only_closers"
    lines = [line for line in gold.splitlines() if line.strip()]
    if len(gold.strip()) >= MIN_REPEATED_CHARS and any(
        gold.strip() in text for text in _near(example)
    ):
        return "repeats_nearby"
    starts_line = not example.prefix.rpartition("\n")[2].strip()
    if starts_line and all(_COMMENT.match(line) for line in lines):
        return "comment"
    if starts_line and all(_IMPORT.match(line) for line in lines):
        return "import"
    return None


def own_suite(
    held_out: Sequence[FimExample],
    *,
    train: Sequence[FimExample] = (),
    num_holes: int | None,
    num_train_holes: int = 0,
    seed: int,
    facts: Mapping[str, object] | None = None,
) -> Suite:
    """Return the suite of held-out holes, with some holes of training files beside them.

    Args:
        held_out: Held-out examples.
        train: Training examples; they only show how much was memorised.
        num_holes: Held-out holes at most, chosen by seed in equal shares of languages and kinds;
            None takes all.
        num_train_holes: Training holes at most.
        seed: Seed of the choices.
        facts: Where the examples came from.

    Raises:
        EmptyDatasetError: No held-out hole is left.
    """
    kept, dropped = _kept(held_out, TEST_PART)
    if not kept:
        raise EmptyDatasetError(
            f"none of {len(held_out)} held-out holes can be scored, so nothing can be measured",
            hint="build a set with more held-out code: fim data build PATH... --out DIR",
            context={"dropped": dict(dropped)},
        )
    items = kept if num_holes is None else choose_by_seed(kept, num_holes, seed, group=_kind)
    beside = choose_by_seed(_kept(train, TRAIN_PART)[0], num_train_holes, seed, group=_kind)
    return Suite(
        OWN,
        "held-out holes of your own code",
        (*items, *(beside if num_train_holes else ())),
        primary=EDIT_SIMILARITY,
        facts={
            **(facts or {}),
            "held_out": len(held_out),
            "dropped": dict(sorted(dropped.items())),
            "usable": len(kept),
            "seed": seed,
        },
    )


def _kept(examples: Sequence[FimExample], part: str) -> tuple[tuple[SuiteItem, ...], Counter[str]]:
    dropped: Counter[str] = Counter()
    items: list[SuiteItem] = []
    names: set[str] = set()
    for number, example in enumerate(examples):
        reason = reason_to_drop(example)
        name = f"{'train/' if part == TRAIN_PART else ''}{example.id or f'{number:06d}'}"
        if reason is None and name in names:
            reason = "repeated_name"
        if reason is not None:
            dropped[reason] += 1
            continue
        names.add(name)
        cluster = example.document_id or example.path or name
        named = replace(example, id=name)
        items.append(SuiteItem(named, hole_kind(example), cluster, part=part))
    return tuple(items), dropped


def _near(example: FimExample) -> tuple[str, ...]:
    """Return what stands around a hole, and its context."""
    around = (example.prefix[-NEAR_CHARS:], example.suffix[:NEAR_CHARS])
    return (*around, *(item.text for item in example.context))


def _kind(item: SuiteItem) -> tuple[str, str]:
    return item.example.language, item.kind


def _is_word(text: str) -> bool:
    return bool(text) and (text.isalnum() or text == "_")
