"""From the files of a run folder to the data of a report.

The files, all UTF-8; keys not named here are ignored, keys marked ``?`` may be missing or null.

``summary.json`` (the only file that must be there)::

    {"run": TEXT, "created": ISO 8601 TEXT, "model": TEXT,
     "title"?: TEXT, "headline"?: TEXT,
     "format"?: {"name": TEXT, "version"?: N, "order"?: TEXT, "family"?: TEXT, "anchor_lines"?: N},
     "seconds"?: X, "peak_memory_mib"?: X,
     "stages"?: [{"name": TEXT, "seconds": X}],
     "training"?: {"steps"?, "seconds"?, "train_loss"?, "eval_loss"?, "holes_per_second"?,
                   "tokens_per_second"?, "supervised_tokens_per_second"?, "peak_memory_mib"?: X},
     "notes"?: [TEXT], "commands"?: [TEXT]}

``eval/comparison.json``; without it the page says that the run was not evaluated::

    {"suite"?: TEXT, "items": N, "clusters"?: N, "bootstrap_draws"?: N, "seed"?: N,
     "base": NAME, "tuned": NAME,
     "metrics": {METRIC: {"base": X, "tuned": X, "difference": X, "low": X, "high": X,
                          "base_name"?: NAME, "higher_is_better"?: BOOL}},
     "contestants"?: [{"name": NAME, "kind": "base" | "tuned" | "floor", "description"?: TEXT,
                       "metrics": {METRIC: X or null}}],
     "notes"?: [TEXT]}

``base`` and ``tuned`` name the contestants whose samples are shown; ``base_name`` names the form
of the base that a metric was compared against, where it is another one.

``eval/NAME.samples.jsonl`` for ``base`` and ``tuned``, one object a hole::

    {"item": TEXT, "gold": TEXT, "output": TEXT, "path"?: TEXT, "language"?: TEXT, "kind"?: TEXT,
     "prefix"?: TEXT, "suffix"?: TEXT, "stop_reason"?: TEXT}

``metrics.jsonl``: ``{"step": N, "loss"?, "eval_loss"?, "learning_rate"?, "seconds"?: X}``; records
of one step are merged, later ones win.

``data_manifest.json``::

    {"source"?: TEXT, "files"?: {"seen"?: N, "used"?: N, "dropped"?: {REASON: N}},
     "examples"?: {SPLIT: N}, "dropped"?: {REASON: N} (holes),
     "licences"?: {NAME: LICENCE}, "hashes"?: {NAME: TEXT}}

``config.json``: ``{SECTION: {FIELD: VALUE}}``; ``sources.json``: ``{"SECTION.FIELD": TEXT}``;
``environment.json``: ``{NAME: VALUE or {NAME: VALUE}}``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from fim.errors import RunFolderError
from fim.reporting.data import (
    Comparison,
    ContestantKind,
    ContestantRow,
    DataSummary,
    Fact,
    LossPoint,
    MetricRow,
    ReportData,
    StageTime,
    display_of,
)
from fim.reporting.figures import format_number, format_seconds, headline_sentence
from fim.reporting.samples import read_samples
from fim.runs.fields import Fields, read_object, read_optional_object, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

DEFAULT_SEED = 3407

_HIDDEN_SETTINGS = frozenset({"hf.token"})
_KINDS: Mapping[str, ContestantKind] = {"base": "base", "tuned": "tuned", "floor": "floor"}
_TRAINING_LABELS = {
    "steps": "Optimizer steps",
    "train_loss": "Training loss",
    "eval_loss": "Held-out loss",
    "holes_per_second": "Holes per second",
    "tokens_per_second": "Tokens per second",
    "supervised_tokens_per_second": "Supervised tokens per second",
    "peak_memory_mib": "Peak memory (MiB)",
}


def report_from_run(run_folder: Path) -> ReportData:
    """Read a run folder; the page says plainly which parts were not recorded.

    Raises:
        RunFolderError: the folder or its ``summary.json`` is missing, a file is broken, or the
            comparison names samples that are not there.
    """
    if not run_folder.is_dir():
        raise RunFolderError(
            f"{run_folder} is not a run folder, so there is nothing to report.",
            hint="list the runs with `fim runs list`.",
            context={"path": str(run_folder)},
        )
    summary = read_object(run_folder / "summary.json")
    comparison_path = run_folder / "eval" / "comparison.json"
    compared = read_object(comparison_path) if comparison_path.exists() else None
    comparison = None if compared is None else _comparison(compared)
    seed = DEFAULT_SEED if comparison is None or comparison.seed is None else comparison.seed
    unevaluated = "This run was not evaluated, so nothing is known about its gain."
    told = unevaluated if comparison is None else headline_sentence(comparison)
    return ReportData(
        title=summary.text("title", "Base against tuned"),
        headline=summary.text("headline", told),
        created=summary.text("created"),
        run_id=summary.text("run"),
        model=summary.text("model"),
        format=_format_name(summary.fields("format")),
        comparison=comparison,
        stages=tuple(
            StageTime(row.text("name"), row.number("seconds")) for row in summary.rows("stages")
        ),
        training=_training_facts(summary),
        settings=_settings(run_folder),
        data=_data(read_optional_object(run_folder / "data_manifest.json")),
        curve=_curve(run_folder / "metrics.jsonl"),
        samples=() if compared is None else read_samples(run_folder / "eval", compared, seed),
        sample_seed=seed,
        environment=_environment(read_optional_object(run_folder / "environment.json")),
        notes=summary.texts("notes") + (() if compared is None else compared.texts("notes")),
        commands=summary.texts("commands"),
    )


def _comparison(fields: Fields) -> Comparison:
    metrics = fields.fields("metrics")
    base = fields.text("base")
    return Comparison(
        rows=tuple(_metric_row(name, metrics.fields(name), base) for name in metrics.values),
        contestants=tuple(_contestant(row) for row in fields.rows("contestants")),
        num_items=fields.count("items"),
        num_clusters=fields.optional_count("clusters"),
        suite=fields.text("suite", ""),
        bootstrap_draws=fields.optional_count("bootstrap_draws"),
        seed=fields.optional_count("seed"),
    )


def _metric_row(name: str, fields: Fields, base: str) -> MetricRow:
    return MetricRow(
        name=name,
        display=display_of(name, higher_is_better=fields.optional_flag("higher_is_better")),
        base_name=fields.text("base_name", base),
        base=fields.number("base"),
        tuned=fields.number("tuned"),
        difference=fields.number("difference"),
        low=fields.number("low"),
        high=fields.number("high"),
    )


def _contestant(fields: Fields) -> ContestantRow:
    kind = fields.text("kind")
    if kind not in _KINDS:
        raise RunFolderError(
            f"{fields.where}: `kind` is {kind!r}, and a contestant is one of {', '.join(_KINDS)}.",
            hint="the file was written by another version or edited: run the evaluation again.",
            context={"file": fields.where, "key": "kind"},
        )
    metrics = fields.fields("metrics")
    return ContestantRow(
        name=fields.text("name"),
        kind=_KINDS[kind],
        description=fields.text("description", ""),
        metrics={name: metrics.optional_number(name) for name in metrics.values},
    )


def _format_name(fields: Fields) -> str:
    name = fields.text("name", "")
    version = fields.optional_count("version")
    parts = [name if version is None else f"{name} v{version}", fields.text("order", "")]
    if fields.text("family", ""):
        parts.append(f"{fields.text('family')} tokens")
    anchor_lines = fields.optional_count("anchor_lines")
    if anchor_lines:
        parts.append(f"{anchor_lines} anchor lines")
    return ", ".join(part for part in parts if part)


def _training_facts(summary: Fields) -> tuple[Fact, ...]:
    training = summary.fields("training")
    facts = []
    for key, label in _TRAINING_LABELS.items():
        value = training.optional_number(key)
        if value is not None:
            facts.append(Fact(label, format_number(value)))
    seconds = training.optional_number("seconds")
    if seconds is not None:
        facts.insert(1, Fact("Training time", format_seconds(seconds)))
    return tuple(facts)


def _settings(run_folder: Path) -> tuple[Fact, ...]:
    config = read_optional_object(run_folder / "config.json")
    sources = read_optional_object(run_folder / "sources.json")
    return tuple(
        Fact(key, _scalar(value), sources.text(key, ""))
        for key, value in _flattened(config.values)
        if key not in _HIDDEN_SETTINGS
    )


def _environment(fields: Fields) -> tuple[Fact, ...]:
    return tuple(Fact(key, _scalar(value)) for key, value in _flattened(fields.values))


def _flattened(values: Mapping[str, object]) -> Iterable[tuple[str, object]]:
    for key, value in values.items():
        if isinstance(value, dict):
            for inner_key, inner_value in value.items():
                yield f"{key}.{inner_key}", inner_value
        else:
            yield key, value


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return ", ".join(str(item) for item in value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _data(fields: Fields) -> DataSummary:
    files = fields.fields("files")
    return DataSummary(
        source=fields.text("source", ""),
        files_seen=files.optional_count("seen"),
        files_used=files.optional_count("used"),
        files_dropped=files.counts("dropped"),
        holes=fields.counts("examples"),
        holes_dropped=fields.counts("dropped"),
        licences=fields.named_texts("licences"),
        hashes=fields.named_texts("hashes"),
    )


def _curve(path: Path) -> tuple[LossPoint, ...]:
    merged: dict[int, dict[str, float]] = {}
    for row in read_rows(path) if path.exists() else ():
        step = row.optional_count("step")
        if step is None:
            continue
        figures = merged.setdefault(step, {})
        for key in ("loss", "eval_loss", "learning_rate", "seconds"):
            value = row.optional_number(key)
            if value is not None:
                figures[key] = value
    return tuple(LossPoint(step, **merged[step]) for step in sorted(merged) if merged[step])
