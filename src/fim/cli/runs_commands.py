"""``fim runs``: what was run here and what came out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli.command import Session, command

if TYPE_CHECKING:
    from fim.runs import RunFolder, RunSummary

_RUN_HELP = "A run folder, its id, the start of its id, or latest."
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help=_RUN_HELP, autocompletion=lambda: ["latest"])
]
OtherArgument = Annotated[str, typer.Argument(metavar="OTHER", help=_RUN_HELP)]


def register(app: typer.Typer) -> None:
    """Add ``fim runs`` and its commands."""
    group = typer.Typer(no_args_is_help=True, help="List, show and compare runs.")
    app.add_typer(group, name="runs")
    command(group, "list", examples=("fim runs list", "fim runs list --json"))(list_all)
    command(group, "show", examples=("fim runs show latest",))(show)
    examples = ("fim runs compare 20261122-1430 latest",)
    command(group, "compare", examples=examples)(compare)


def list_all(session: Session) -> None:
    """List the runs, newest first, with their state and figures."""
    from fim.runs import list_runs

    root = session.resolve().settings.train.output_dir
    runs = list_runs(root)
    if session.output.is_json:
        session.output.write_json({"runs": [run.as_json() for run in runs]})
        return
    if not runs:
        session.output.say(f"No runs under {root}.")
        session.output.hint("fim quickstart")
        return
    rows = [[run.id, _state(run), _figures(run.metrics)] for run in runs]
    session.output.table(["run", "state", "figures"], rows, is_answer=True)


def show(session: Session, run: RunArgument) -> None:
    """Show a run: its state, its figures and its files."""
    from fim.runs import summarise

    folder = _find(session, run)
    summary = summarise(folder)
    files = sorted(path.name for path in folder.path.iterdir() if not path.name.startswith("."))
    if session.output.is_json:
        session.output.write_json(summary.as_json() | {"files": files})
        return
    rows = [
        ["run", summary.id],
        ["state", _state(summary)],
        ["folder", str(summary.path)],
        *([name, _figure(value)] for name, value in summary.metrics.items()),
        ["files", ", ".join(files)],
    ]
    session.output.table(["what", "value"], rows, is_answer=True)


def compare(session: Session, run: RunArgument, other: OtherArgument) -> None:
    """Compare two runs: settings that differ, and their figures."""
    from fim.runs import compare_runs

    compared = compare_runs(_find(session, run), _find(session, other))
    if session.output.is_json:
        session.output.write_json(compared.as_json())
        return
    rows = [
        [name, _figure(one), _figure(two)]
        for pairs in (compared.metrics, compared.settings)
        for name, (one, two) in pairs.items()
    ]
    if not rows:
        session.output.say("The runs have the same settings, and no figures yet.")
        return
    columns = ["figure or setting", f">{compared.a}", f">{compared.b}"]
    session.output.table(columns, rows, is_answer=True)


def _find(session: Session, name: str) -> RunFolder:
    from fim.runs import find_run

    return find_run(session.resolve().settings.train.output_dir, name)


def _state(run: RunSummary) -> str:
    return f"{run.state}: {run.reason}" if run.reason else str(run.state)


def _figures(metrics: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {_figure(value)}" for name, value in metrics.items())


def _figure(value: object) -> str:
    """Return a figure, of base and tuned where there are both."""
    if isinstance(value, Mapping):
        return f"{_figure(value.get('base'))} → {_figure(value.get('tuned'))}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return "-" if value is None else str(value)
