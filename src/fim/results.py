"""What a finished run leaves for people: summary, loss plot, model card, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fim.exporting import card_from_run, write_card
from fim.reporting import report_from_run, write_loss_plot, write_report

if TYPE_CHECKING:
    from fim.formats import FormatRecord
    from fim.runs import RunFolder
    from fim.training import TrainingResult


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
    card = card_from_run(run.path)
    write_card(card, run.card)
    write_card(card, run.adapter / "README.md")
    write_report(report, run.report)
