"""What the page of two evaluations shows: plain frozen data, free of files and markup."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from fim.reporting.data import Fact, MetricDisplay, Verdict, display_of

if TYPE_CHECKING:
    from collections.abc import Mapping

SIGNIFICANCE = 0.05
CellKind = Literal["won", "lost", "both wrong", "over-run", "did not stop"]

EVAL_DISPLAYS: Mapping[str, MetricDisplay] = {
    "pass_at_1": MetricDisplay(
        "pass@1", "share", meaning="share of holes whose program passes its tests, greedy answer"
    ),
    "suite_score": MetricDisplay("The suite's own score", "share"),
    "prefix_match_chars": MetricDisplay(
        "Right characters before the first wrong one",
        meaning="characters of the answer that equal the truth from its start on",
    ),
    "identifier_f1": MetricDisplay(
        "Identifier F1",
        "score",
        meaning="2 \N{MULTIPLICATION SIGN} common names / all names of both, sets of names "
        "outside strings",
    ),
    "parses": MetricDisplay(
        "File parses with the answer",
        "share",
        meaning="tree-sitter finds no error in the whole file, among files that parse with the "
        "true text",
    ),
    "over_run_rate": MetricDisplay(
        "Over-run rate",
        "share",
        higher_is_better=False,
        meaning="share of answers that hold the whole truth and then go on",
    ),
    "suffix_overlap_rate": MetricDisplay(
        "Suffix repeated",
        "share",
        higher_is_better=False,
        meaning="share of answers whose end repeats the text behind the hole",
    ),
}


def eval_display(name: str) -> MetricDisplay:
    """Return how a metric of an evaluation is shown."""
    return EVAL_DISPLAYS.get(name) or display_of(name)


@dataclass(frozen=True, slots=True)
class EvalMetric:
    """A metric of both sides, raw, and cleaned where there is a cleaned form."""

    display: MetricDisplay
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    clean_a: float | None = None
    clean_b: float | None = None

    @property
    def verdict(self) -> Verdict:
        """What interval and p together allow to say."""
        if self.low <= 0.0 <= self.high or self.p >= SIGNIFICANCE:
            return "not enough to tell"
        return "better" if (self.low > 0.0) == self.display.higher_is_better else "worse"


@dataclass(frozen=True, slots=True)
class EvalSlice:
    """A language and kind of hole."""

    language: str
    kind: str
    items: int
    metric: EvalMetric | None
    p_holm: float | None
    verdict: str
    exact_a: float | None = None
    exact_b: float | None = None


@dataclass(frozen=True, slots=True)
class EvalCell:
    """A hole with both answers."""

    outcome: CellKind
    item: str
    place: str
    prefix_tail: str
    gold: str
    suffix_head: str
    a: str
    b: str
    a_stop: str
    b_stop: str


@dataclass(frozen=True, slots=True)
class EvalTable:
    """A small table: heads and rows of texts; heads that begin with ``>`` are numbers."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class EvalPage:
    """Everything on the page.

    ``latency`` holds the milliseconds of every answer for each side.
    """

    title: str
    headline: str
    verdict: str
    reason: str
    name_a: str
    name_b: str
    items: int
    clusters: int
    problems: tuple[str, ...]
    metrics: tuple[EvalMetric, ...]
    slices: tuple[EvalSlice, ...]
    primary: MetricDisplay
    latency: Mapping[str, tuple[float, ...]]
    cells: tuple[EvalCell, ...]
    seed: int
    draws: int
    tables: tuple[EvalTable, ...] = ()
    leaks: tuple[EvalTable, ...] = ()
    leak_note: str = ""
    sandbox: tuple[Fact, ...] = ()
    facts: tuple[Fact, ...] = ()
    prompt_item: str = ""
    prompt_ids: tuple[int, ...] = ()
    cell_counts: Mapping[str, int] = field(default_factory=dict)
    worst: tuple[EvalCell, ...] = ()

    @property
    def is_void(self) -> bool:
        """Whether a problem was found that voids every verdict."""
        return bool(self.problems)
