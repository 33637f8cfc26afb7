"""What a report shows: plain frozen data, free of files, models and markup."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict = Literal["better", "worse", "not enough to tell"]
Unit = Literal["nats", "score", "share", "plain"]
ContestantKind = Literal["base", "tuned", "floor"]


@dataclass(frozen=True, slots=True)
class MetricDisplay:
    """How a metric is named and read.

    Args:
        label: Name for people.
        unit: ``nats`` (per token), ``score`` (0 to 1), ``share`` (0 to 1, shown in percent) or
            ``plain``.
        higher_is_better: False where a smaller value is the better one.
        meaning: One sentence that defines it.
    """

    label: str
    unit: Unit = "plain"
    higher_is_better: bool = True
    meaning: str = ""


METRIC_DISPLAYS: Mapping[str, MetricDisplay] = {
    "nll_per_token": MetricDisplay(
        "Gold NLL per token",
        "nats",
        higher_is_better=False,
        meaning="negative log-likelihood of the true text in nats per token, lower is better",
    ),
    "nll_per_token_with_end": MetricDisplay(
        "Gold NLL per token, end included", "nats", higher_is_better=False
    ),
    "edit_similarity": MetricDisplay(
        "Edit similarity",
        "score",
        meaning="1 \N{MINUS SIGN} (insertions + deletions) / (length of gold + length of answer), "
        "in characters",
    ),
    "exact_match": MetricDisplay(
        "Exact match",
        "share",
        meaning="share of holes answered with the true text, blanks at line ends aside",
    ),
    "first_line_match": MetricDisplay("First line right", "share"),
    "stop_rate": MetricDisplay(
        "Stop rate", "share", meaning="share of answers that ended by themselves"
    ),
}


def display_of(name: str, *, higher_is_better: bool | None = None) -> MetricDisplay:
    """Return how the metric called ``name`` is shown; unknown names show themselves."""
    known = METRIC_DISPLAYS.get(name)
    if known is not None:
        return known
    label = name.replace("_", " ").strip().capitalize()
    return MetricDisplay(label, higher_is_better=higher_is_better is not False)


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of the base against the tuned model, with the interval of the difference."""

    name: str
    display: MetricDisplay
    base_name: str
    base: float
    tuned: float
    difference: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """What the interval allows to say: never ``better`` while it holds zero."""
        if self.low <= 0.0 <= self.high:
            return "not enough to tell"
        is_gain = (self.low > 0.0) == self.display.higher_is_better
        return "better" if is_gain else "worse"


@dataclass(frozen=True, slots=True)
class ContestantRow:
    """Everything that answered the same holes: forms of the base, the tuned model, trivial floors.

    ``metrics`` holds None where a metric does not exist for the contestant.
    """

    name: str
    kind: ContestantKind
    description: str
    metrics: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The measured difference and its setting.

    ``num_clusters`` counts the files that the interval resamples.
    """

    rows: tuple[MetricRow, ...]
    contestants: tuple[ContestantRow, ...]
    num_items: int
    num_clusters: int | None = None
    suite: str = ""
    bootstrap_draws: int | None = None
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class StageTime:
    """A stage of the run and its wall time in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class LossPoint:
    """What was logged at an optimizer step; None where nothing was."""

    step: int
    loss: float | None = None
    eval_loss: float | None = None
    learning_rate: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """A labelled value; ``source`` says where a setting came from."""

    label: str
    value: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class DataSummary:
    """Where the examples came from and what was left out, with counted reasons."""

    source: str = ""
    files_seen: int | None = None
    files_used: int | None = None
    files_dropped: Mapping[str, int] = field(default_factory=dict)
    holes: Mapping[str, int] = field(default_factory=dict)
    holes_dropped: Mapping[str, int] = field(default_factory=dict)
    licences: Mapping[str, str] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SampleView:
    """One hole with the answers of both models.

    ``prefix_tail`` ends and ``suffix_head`` begins at the hole; the flags say whether text was
    cut away beyond them.
    """

    item: str
    path: str
    language: str
    kind: str
    prefix_tail: str
    gold: str
    suffix_head: str
    base_output: str
    tuned_output: str
    base_stop: str = ""
    tuned_stop: str = ""
    is_prefix_cut: bool = False
    is_suffix_cut: bool = False


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything on one report page.

    Args:
        title: Heading of the page.
        headline: The finding in one sentence.
        created: When the run ended, ISO 8601.
        run_id: Name of the run folder.
        model: Base model.
        format: Prompt format with its version and order.
        comparison: Base against tuned; None when the run was not evaluated.
        stages: Wall times.
        training: Figures of the training.
        settings: Every setting with its source.
        data: Where the examples came from.
        curve: Training curve, by step.
        samples: Holes with both answers, chosen by seed.
        environment: Versions and hardware.
        notes: Limits that the reader must know.
        commands: What to run next, as typed.
    """

    title: str
    headline: str
    created: str
    run_id: str
    model: str
    format: str
    comparison: Comparison | None = None
    stages: tuple[StageTime, ...] = ()
    training: tuple[Fact, ...] = ()
    settings: tuple[Fact, ...] = ()
    data: DataSummary = field(default_factory=DataSummary)
    curve: tuple[LossPoint, ...] = ()
    samples: tuple[SampleView, ...] = ()
    sample_seed: int | None = None
    environment: tuple[Fact, ...] = ()
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
