"""From the files of a run folder to the data of its model card.

Reads ``summary.json``, ``eval/comparison.json``, ``data_manifest.json``, ``config.json`` and
``environment.json`` in the forms that :mod:`fim.reporting.run_files` writes down; only the summary
must be there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.config import EMBEDDED_MODEL_NAME
from fim.exporting.card_data import CardData, CardMetric, CardSource
from fim.runs.fields import Fields, read_object, read_optional_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class KnownBase:
    """A base model whose hub name and licence are known."""

    hub_name: str
    licence: str


KNOWN_BASES: Mapping[str, KnownBase] = {
    EMBEDDED_MODEL_NAME: KnownBase("HuggingFaceTB/SmolLM2-135M-Instruct", "Apache-2.0"),
    "unsloth/Qwen3-8B-bnb-4bit": KnownBase("unsloth/Qwen3-8B-bnb-4bit", "Apache-2.0"),
}
METRIC_LABELS = {
    "nll_per_token": "Gold NLL per token",
    "edit_similarity": "Edit similarity (0 to 1)",
    "exact_match": "Exact match (share)",
    "stop_rate": "Stop rate (share)",
}
CARD_SETTINGS = (
    "model.max_seq_length",
    "model.load_in_4bit",
    "lora.r",
    "lora.alpha",
    "lora.dropout",
    "lora.target_modules",
    "data.enable_response_masking",
    "data.max_context_items",
    "train.learning_rate",
    "train.lr_scheduler_type",
    "train.warmup_ratio",
    "train.per_device_train_batch_size",
    "train.gradient_accumulation_steps",
    "train.optim",
    "train.max_grad_norm",
    "train.seed",
)
TRAINING_FIGURES = {
    "steps": "optimizer steps",
    "seconds": "seconds",
    "train_loss": "training loss",
    "eval_loss": "held-out loss",
    "peak_memory_mib": "peak memory, MiB",
}
_FORMAT_FACTS = ("version", "family", "order", "anchor_lines", "end_id", "stop_ids", "fingerprint")


def card_from_run(run_folder: Path) -> CardData:
    """Read a run folder into the data of its model card; what was not recorded stays unknown.

    Raises:
        RunFolderError: ``summary.json`` is missing, or a file is broken.
    """
    summary = read_object(run_folder / "summary.json")
    compared = read_optional_object(run_folder / "eval" / "comparison.json")
    manifest = read_optional_object(run_folder / "data_manifest.json")
    environment = read_optional_object(run_folder / "environment.json")
    config = read_optional_object(run_folder / "config.json")
    model, record = summary.text("model"), summary.fields("format")
    base = KNOWN_BASES.get(model, KnownBase(model, ""))
    return CardData(
        title=f"{base.hub_name.rsplit('/', 1)[-1]}, tuned to fill in the middle",
        base_model=base.hub_name,
        base_licence=base.licence,
        run_id=summary.text("run"),
        created=summary.text("created"),
        format_name=record.text("name", "unknown"),
        format_facts=dict(_format_facts(record)),
        languages=manifest.texts("languages"),
        sources=_sources(manifest),
        metrics=_metrics(compared),
        num_items=compared.optional_count("items"),
        num_clusters=compared.optional_count("clusters"),
        base_form=_base_form(compared),
        settings=dict(_settings(config)),
        figures=dict(_figures(summary.fields("training"))),
        limits=summary.texts("notes"),
        versions=dict(_versions(environment)),
        commands=summary.texts("commands"),
    )


def _format_facts(record: Fields) -> Iterator[tuple[str, str]]:
    for name in _FORMAT_FACTS:
        if name in record.values:
            yield name.replace("_", " "), _shown(record.values[name])
    for token, token_id in record.counts("token_ids").items():
        yield token, str(token_id)


def _sources(manifest: Fields) -> tuple[CardSource, ...]:
    name = manifest.text("source", "")
    if not name:
        return ()
    licences = manifest.named_texts("licences")
    return (
        CardSource(
            name=name,
            licence=licences.get(name, ", ".join(sorted(set(licences.values())))),
            num_files=manifest.fields("files").optional_count("used"),
            num_holes=manifest.fields("examples").optional_count("train"),
            digest=manifest.fields("hashes").text("train", ""),
        ),
    )


def _metrics(compared: Fields) -> tuple[CardMetric, ...]:
    metrics = compared.fields("metrics")
    return tuple(_metric(name, metrics.fields(name)) for name in metrics.values)


def _metric(name: str, found: Fields) -> CardMetric:
    flag = found.optional_flag("higher_is_better")
    return CardMetric(
        name=name,
        label=METRIC_LABELS.get(name, name.replace("_", " ")),
        base=found.number("base"),
        tuned=found.number("tuned"),
        difference=found.number("difference"),
        low=found.number("low"),
        high=found.number("high"),
        higher_is_better=not name.startswith("nll_") if flag is None else flag,
    )


def _base_form(compared: Fields) -> str:
    metrics = compared.fields("metrics")
    fallback = compared.text("base", "")
    forms = [metrics.fields(name).text("base_name", fallback) for name in metrics.values]
    return "; ".join(dict.fromkeys(form for form in forms if form))


def _settings(config: Fields) -> Iterator[tuple[str, str]]:
    for key in CARD_SETTINGS:
        section, field = key.split(".")
        values = config.fields(section).values
        if field in values:
            yield key, _shown(values[field])


def _figures(training: Fields) -> Iterator[tuple[str, str]]:
    for key, label in TRAINING_FIGURES.items():
        value = training.optional_number(key)
        if value is not None:
            yield label, f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004


def _versions(environment: Fields) -> Iterator[tuple[str, str]]:
    if "python" in environment.values:
        yield "python", environment.text("python")
    for name, version in environment.fields("packages").values.items():
        if isinstance(version, str):
            yield name, version


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return str(value).lower() if isinstance(value, bool) else str(value)
