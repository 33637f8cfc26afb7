"""``fim report``: draw the page of a run again from the files in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fim.cli.command import Session, command

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run folder, its id, the start of its id, or latest.",
        show_default=False,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="File to write; without it report.html in the run folder.",
        metavar="FILE",
        dir_okay=False,
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Add ``fim report``."""
    command(
        app,
        "report",
        examples=("fim report latest", "fim report runs/latest --out report.html --json"),
    )(report)


def report(session: Session, run: RunArgument, out: OutOption = None) -> None:
    """Write one stand-alone page about a run: gain, completions, training, data."""
    from fim.reporting import report_from_run, write_report
    from fim.runs import find_run

    settings = session.resolve().settings
    folder = find_run(settings.train.output_dir, run)
    data = report_from_run(folder.path)
    path = write_report(data, out or folder.report)
    if session.output.is_json:
        answer = {"run": str(folder.path), "report": str(path), "headline": data.headline}
        session.output.write_json(answer)
        return
    session.output.say(data.headline)
    session.output.write_text(f"{path}\n")
