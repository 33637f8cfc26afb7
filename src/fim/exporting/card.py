"""The model card of an adapter: what it is, what was measured, how to prompt it, where it ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fim.exporting.card_data import CardData, CardMetric, CardSource
from fim.exporting.card_run import card_from_run
from fim.exporting.markdown import YamlValue, code, escape, fenced, front_matter, table
from fim.runs.writing import write_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "CardData",
    "CardMetric",
    "CardSource",
    "card_from_run",
    "render_card",
    "write_card",
]

BASE_TAGS = ("code", "code-completion", "fill-in-the-middle", "fim", "lora")
_UNKNOWN = "unknown"
_NOTHING = "\N{EN DASH}"


def render_card(card: CardData) -> str:
    """Return the card as Markdown with YAML front matter that model hubs read."""
    sections = [
        front_matter(_front_matter(card)),
        f"# {escape(card.title)}",
        _summary(card),
        _results(card),
        _prompting(card),
        _data(card),
        _facts("Training", card.figures, card.settings),
        _limits(card),
        _facts("Versions", card.versions),
        f"Made by run {code(card.run_id)} on {escape(card.created)} with `fim`.",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def write_card(card: CardData, path: Path) -> Path:
    """Write the card atomically.

    Raises:
        RunFolderError: the folder cannot be made or the file cannot be written.
    """
    text = render_card(card).encode("utf-8", errors="backslashreplace").decode("utf-8")
    return write_text(path, text)


def _front_matter(card: CardData) -> dict[str, YamlValue]:
    values: dict[str, YamlValue] = {}
    if card.licence:
        values["license"] = card.licence.lower()
    values |= {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "base_model": card.base_model,
        "base_model_relation": "adapter",
        "tags": list(dict.fromkeys((*BASE_TAGS, *card.tags))),
    }
    if card.metrics:
        values["model-index"] = [{"name": card.title, "results": [_index_result(card)]}]
    return values


def _index_result(card: CardData) -> dict[str, YamlValue]:
    return {
        "task": {"type": "text-generation", "name": "Fill in the middle"},
        "dataset": {"type": "held-out-holes", "name": "Held-out holes of the training corpus"},
        "metrics": [
            {"type": metric.name, "name": metric.label, "value": round(metric.tuned, 6)}
            for metric in card.metrics
            if math.isfinite(metric.tuned)
        ],
    }


def _summary(card: CardData) -> str:
    languages = f"{escape(', '.join(card.languages))} " if card.languages else ""
    licence = escape(card.base_licence or _UNKNOWN)
    return (
        f"A LoRA adapter on {code(card.base_model)} (licence: {licence}) that completes "
        f"{languages}code between a prefix and a suffix."
    )


def _results(card: CardData) -> str:
    if not card.metrics:
        return "## Results\n\nThis adapter was not evaluated. Nothing is known about its gain."
    rows = [
        (
            escape(metric.label),
            f"{metric.base:.3f}",
            f"{metric.tuned:.3f}",
            f"{metric.difference:+.3f}",
            f"{metric.low:+.3f} to {metric.high:+.3f}",
            _verdict(metric),
        )
        for metric in card.metrics
    ]
    head = ("Metric", "Base", "Tuned", "Difference", "95 % interval", "Verdict")
    return f"## Results\n\n{_setting(card)}\n\n{table(head, rows)}"


def _setting(card: CardData) -> str:
    items = "Held-out holes" if card.num_items is None else f"{card.num_items:,} held-out holes"
    files = "" if card.num_clusters is None else f" from {card.num_clusters:,} files"
    form = f", {escape(card.base_form)}" if card.base_form else ""
    return (
        f"{items}{files} that training never saw; the base in its better form{form}; intervals "
        "from a paired bootstrap over files. A verdict is given only where the interval "
        "excludes zero."
    )


def _verdict(metric: CardMetric) -> str:
    if metric.low <= 0.0 <= metric.high:
        return "not enough to tell"
    return "better" if (metric.low > 0.0) == metric.higher_is_better else "worse"


def _prompting(card: CardData) -> str:
    parts = [
        "## How to prompt it",
        f"The adapter answers only to the format it was trained on, {code(card.format_name)}. "
        "`fim_format.json` beside the adapter records it with its token ids; prompt with those "
        "ids, since text that spells a control token must not become one.",
    ]
    if card.format_facts:
        rows = [(escape(name), code(value)) for name, value in card.format_facts.items()]
        parts.append(table(("Name", "Value"), rows, num_text_columns=2))
    if card.prompt:
        parts += ["A prompt, as text:", fenced(card.prompt, "text")]
    if card.commands:
        parts += ["Use it:", fenced("\n".join(card.commands), "sh")]
    return "\n\n".join(parts)


def _data(card: CardData) -> str:
    if not card.sources:
        return ""
    rows = [
        (
            escape(source.name),
            escape(source.licence or _UNKNOWN),
            _count(source.num_files),
            _count(source.num_holes),
            code(source.digest[:16]) if source.digest else _NOTHING,
        )
        for source in card.sources
    ]
    head = ("Source", "Licence", "Files", "Holes", "Hash")
    return f"## Training data\n\n{table(head, rows, num_text_columns=2)}"


def _facts(title: str, *groups: Mapping[str, str]) -> str:
    rows = [(escape(name), code(value)) for group in groups for name, value in group.items()]
    if not rows:
        return ""
    return f"## {title}\n\n{table(('Name', 'Value'), rows, num_text_columns=2)}"


def _limits(card: CardData) -> str:
    if not card.limits:
        return ""
    return "## Limits\n\n" + "\n".join(f"- {escape(limit)}" for limit in card.limits)


def _count(value: int | None) -> str:
    return _NOTHING if value is None else f"{value:,}"
