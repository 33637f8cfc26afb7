"""What a model card shows: plain frozen data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class CardMetric:
    """A metric of base and tuned model with the 95 % interval of the difference.

    Args:
        name: Machine-readable name.
        label: Name for people.
        base: Value of the base in its better form.
        tuned: Value of the tuned model.
        difference: Tuned minus base.
        low: Lower end of the interval.
        high: Upper end of the interval.
        higher_is_better: False where a smaller value is the better one.
    """

    name: str
    label: str
    base: float
    tuned: float
    difference: float
    low: float
    high: float
    higher_is_better: bool = True


@dataclass(frozen=True, slots=True)
class CardSource:
    """A source of training text; an empty licence reads as unknown.

    Args:
        name: What it is called.
        licence: SPDX expression, when known.
        num_files: Files used, when known.
        num_holes: Training holes cut from it, when known.
        digest: Hash of the training rows, when known.
    """

    name: str
    licence: str = ""
    num_files: int | None = None
    num_holes: int | None = None
    digest: str = ""


@dataclass(frozen=True, slots=True)
class CardData:
    """Everything on a model card.

    Args:
        title: Heading.
        base_model: Hub name of the base model, for the front matter.
        run_id: Run that made the adapter.
        created: When, ISO 8601.
        format_name: Prompt format that the adapter was trained on.
        licence: SPDX expression of the adapter, when known.
        base_licence: SPDX expression of the base model, when known.
        format_facts: Format version, order, anchor lines, end token and the like.
        prompt: One rendered prompt, as text, to show the layout.
        languages: Programming languages of the training text.
        sources: Where the training text came from.
        metrics: What was measured on held-out holes; empty when nothing was.
        num_items: Held-out holes of the measurement.
        num_clusters: Files that they come from.
        base_form: Form of the base that the metrics compare against.
        settings: Training settings by name.
        figures: Figures of the training: steps, time, memory.
        limits: What the reader must know before use.
        versions: Packages by name.
        commands: Commands that use the adapter, as typed.
        tags: Tags besides the usual ones.
    """

    title: str
    base_model: str
    run_id: str
    created: str
    format_name: str
    licence: str = ""
    base_licence: str = ""
    format_facts: Mapping[str, str] = field(default_factory=dict)
    prompt: str = ""
    languages: tuple[str, ...] = ()
    sources: tuple[CardSource, ...] = ()
    metrics: tuple[CardMetric, ...] = ()
    num_items: int | None = None
    num_clusters: int | None = None
    base_form: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    figures: Mapping[str, str] = field(default_factory=dict)
    limits: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
