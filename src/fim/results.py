"""What a finished run leaves for people: summary, loss plot, model card, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fim.exporting.card import CardData, CardMetric, CardSource, write_card
from fim.reporting import ReportData, report_from_run, write_loss_plot, write_report

if TYPE_CHECKING:
    from fim.formats import FormatRecord
    from fim.runs import RunFolder
    from fim.training import TrainingResult

_CARD_SETTINGS = (
    "lora.",
    "train.learning_rate",
    "train.per_device",
    "train.gradient",
    "train.optim",
)


def write_results(
    run: RunFolder,
    *,
    model: str,
    record: FormatRecord,
    result: TrainingResult,
    more: Mapping[str, object],
) -> None:
    """Write the run's summary, loss plot, model card and report.

    Args:
        run: The run.
        model: Name of the base model.
        record: Format of the adapter.
        result: Figures of the training.
        more: Further keys of the summary; they win.

    Raises:
        RunFolderError: The file system refused.
    """
    figures = {name: value for name, value in asdict(result).items() if name != "adapter"}
    summary: dict[str, object] = {
        "run": run.id,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model,
        "format": record.as_json(),
        "seconds": result.seconds,
        "peak_memory_mib": result.peak_memory_mib,
        "training": figures,
        **more,
    }
    run.write_json(run.summary, summary)
    report = report_from_run(run.path)
    write_loss_plot(report.curve, run.plots / "loss.svg")
    write_card(card_of(report, record), run.card)
    write_report(report, run.report)


def card_of(report: ReportData, record: FormatRecord) -> CardData:
    """Return the model card that says what the report says."""
    compared = report.comparison
    metrics = () if compared is None else tuple(
        CardMetric(
            name=row.name,
            label=row.display.label,
            base=row.base,
            tuned=row.tuned,
            difference=row.difference,
            low=row.low,
            high=row.high,
            higher_is_better=row.display.higher_is_better,
        )
        for row in compared.rows
    )
    source = CardSource(
        name=report.data.source or "unknown",
        num_files=report.data.files_used,
        num_holes=report.data.holes.get("train"),
        sha256=report.data.hashes.get("train", ""),
    )
    return CardData(
        title=f"{report.model.rsplit('/', 1)[-1]}, tuned for fill-in-the-middle",
        base_model=report.model,
        run_id=report.run_id,
        created=report.created,
        format_name=report.format,
        format_facts={
            "version": str(record.version),
            "family": record.family,
            "order": record.order,
            "anchor lines": str(record.anchor_lines),
            "end id": str(record.end_id),
            "stop ids": ", ".join(map(str, record.stop_ids)),
            "fingerprint": record.fingerprint,
        },
        sources=(source,),
        metrics=metrics,
        num_items=None if compared is None else compared.num_items,
        num_clusters=None if compared is None else compared.num_clusters,
        settings={
            fact.label: fact.value
            for fact in report.settings
            if fact.label.startswith(_CARD_SETTINGS)
        },
        figures={fact.label: fact.value for fact in report.training},
        limits=report.notes,
        versions={fact.label: fact.value for fact in report.environment},
        commands=report.commands,
    )
