"""Which rows are trained on and which are held out: one rule for every command."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fim.data.sides import HELD_OUT, TRAIN
from fim.data.split import split_examples
from fim.types import DropReport

if TYPE_CHECKING:
    from fim.config import DataSettings
    from fim.data.collect import LoadedExamples

BY_DATA = "by the data"
BY_SEED = "by the seed"


@dataclass(frozen=True, slots=True)
class Division:
    """Both sides of a set, and what decided: the data themselves, or the seed."""

    train: LoadedExamples
    held_out: LoadedExamples
    rule: str

    def counts(self) -> dict[str, int]:
        """Return the usable examples of each side."""
        return {TRAIN: len(self.train.examples), HELD_OUT: len(self.held_out.examples)}

    def as_json(self) -> dict[str, object]:
        """Return how the sides came about."""
        return {
            "rule": self.rule,
            **self.counts(),
            "split_words": dict(self.train.words),
            "files": dict(self.train.files),
        }


def divide(loaded: LoadedExamples, *, settings: DataSettings) -> Division:
    """Divide a loaded set into what is trained on and what is held out.

    Where rows or files are named as held out, exactly these are. Otherwise a share of
    ``held_out_fraction`` is, by the seed, whole groups of near-duplicates at a time.
    """
    named = loaded.held_out
    if named is not None and named.examples:
        return Division(loaded, named, BY_DATA)
    train, held_out = split_examples(
        loaded.examples, held_out_fraction=settings.held_out_fraction, seed=settings.seed
    )
    num_dropped = 0 if named is None else named.report.seen
    rest = replace(
        loaded,
        examples=train,
        report=replace(loaded.report, seen=loaded.report.seen - len(held_out), used=len(train)),
    )
    dropped = {} if named is None else dict(named.report.dropped)
    chosen = replace(
        loaded,
        examples=held_out,
        report=DropReport(num_dropped + len(held_out), len(held_out), dropped),
        context_report=DropReport(),
        problems=(),
        remarks={},
        details={},
        held_out=None,
    )
    return Division(rest, chosen, BY_SEED)
