"""What a finished run leaves for people: summary, loss plot, model card, report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fim.errors import FimError
from fim.exporting import HubUpload, card_from_run, push_adapter, write_card
from fim.logger import get_logger
from fim.reporting import report_from_run, write_held_out_plot, write_loss_plot, write_report

if TYPE_CHECKING:
    from fim.config import ResolvedSettings
    from fim.formats import FormatRecord
    from fim.runs import RunFolder
    from fim.training import TrainingResult

_log = get_logger("results")


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
    write_held_out_plot(run.read_metrics(), run.plots / "held_out.svg", kept_step=result.kept_step)
    card = card_from_run(run.path)
    write_card(card, run.card)
    write_card(card, result.adapter / "README.md")
    write_report(report, run.report)


def publish(resolved: ResolvedSettings, run: RunFolder) -> HubUpload | FimError | None:
    """Upload a finished run's adapter where ``hf.push`` asks for it.

    Args:
        resolved: Settings in force with their sources.
        run: The run; a failed upload changes nothing in it.

    Returns:
        What was uploaded, what went wrong, or None where nothing was asked for.
    """
    if not resolved.settings.hf.push:
        return None
    try:
        return push_adapter(resolved, run)
    except FimError as error:
        _log.error("the adapter was not uploaded: %s (%s)", error.message, error.hint)
        return error
