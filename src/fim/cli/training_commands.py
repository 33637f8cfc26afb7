"""``fim train`` and ``fim quickstart``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli.command import Session, command
from fim.cli.plan import show_plan
from fim.cli.program import program_name
from fim.errors import FimError

if TYPE_CHECKING:
    from fim.pipeline import TrainingOutcome
    from fim.quickstart import QuickstartOutcome

SHOWN_LINES = 3
SHOWN_ANSWER_LINES = 4
DEFAULT_MINUTES = 9.0
_LABELS = {
    "nll_per_token": "gold NLL per token",
    "edit_similarity": "edit similarity",
    "exact_match": "exact match",
    "stop_rate": "stops by itself",
}
_SHORT_LABELS = {
    "nll_per_token": "NLL",
    "edit_similarity": "edit sim.",
    "exact_match": "exact",
    "stop_rate": "stops",
}
_MORE_TIME = 3
_NOT_ENOUGH = "not enough to tell"
_VERDICTS = {
    "better": "better: both intervals exclude zero",
    "worse": "worse",
    _NOT_ENOUGH: "not proven better: not enough to tell",
}

OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="DIR", help="The run folder; runs/<id> without it."),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="DATA", help="Examples: a built set, a parquet file or a JSONL."
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", metavar="NAME", help="Base model: a hub name or a folder.")
]
AddTokensOption = Annotated[
    bool,
    typer.Option(
        "--add-tokens",
        help="Add fill-in-the-middle tokens to a base that has none, and train them.",
    ),
]
ResumeOption = Annotated[
    str | None,
    typer.Option(
        "--resume",
        metavar="RUN",
        help="Go on with a run: last, its id or its folder. What is set otherwise is taken over "
        "and told, or refused by name.",
    ),
]
DryRunOption = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Say what would be trained, where and at what cost, and train nothing: no GPU, no "
        "network, no run folder.",
    ),
]
MinutesOption = Annotated[
    float, typer.Option("--minutes", min=1.0, metavar="N", help="Wall time for everything.")
]
CorpusOption = Annotated[
    Path | None,
    typer.Option(
        "--corpus", metavar="DIR", help="Learn from this code, not from the standard library."
    ),
]


def register(app: typer.Typer) -> None:
    """Add ``fim quickstart`` and ``fim train``."""
    command(
        app,
        "quickstart",
        examples=("fim quickstart", "fim quickstart --corpus ~/code/project --minutes 12"),
    )(quickstart)
    command(
        app,
        "train",
        examples=(
            "fim train --preset cpu",
            "fim train --data data/ --resume last",
            "fim train --resume last --set train.num_train_epochs=2",
            "fim train --preset 24gb --data data/ --dry-run",
        ),
    )(train)


def train(
    session: Session,
    data: DataOption = None,
    model: ModelOption = None,
    out: OutOption = None,
    resume: ResumeOption = None,
    add_tokens: AddTokensOption = False,
    is_dry_run: DryRunOption = False,
) -> None:
    """Fine-tune a model on fill-in-the-middle examples."""
    from fim.pipeline import run_training
    from fim.training.processes import is_main

    wanted = {"data.path": data, "model.name": model, "model.add_tokens": add_tokens or None}
    resolved = session.resolve(wanted)
    if is_dry_run:
        show_plan(session, resolved, out=out, resume=resume)
        return
    outcome = run_training(
        resolved, out=out, resume=resume, command=program_name(), progress=session.progress
    )
    if not is_main():
        return
    if session.output.is_json:
        session.output.write_json(outcome.as_json())
    else:
        _show_training(session, outcome)
    if isinstance(outcome.upload, FimError):
        raise typer.Exit(outcome.upload.exit_code)


def _show_training(session: Session, outcome: TrainingOutcome) -> None:
    result = outcome.result
    if outcome.going_on is not None:
        for change in outcome.going_on.resumed.changes:
            session.output.say(f"changed: {change}")
    session.output.say(
        f"{result.steps} steps in {result.seconds:.0f} s, loss {result.train_loss:.3f}, "
        f"{result.holes_per_second:.2f} holes/s, peak memory {result.peak_memory_mib:,.0f} MiB"
    )
    session.output.say(f"{result.adapter.name}: {outcome.run.shown_path}/{result.adapter.name}")
    session.output.say(f"report:  {outcome.run.shown_path}/report.html")
    if outcome.upload is not None and not isinstance(outcome.upload, FimError):
        session.output.say(f"hub:     {outcome.upload.url}")


def quickstart(
    session: Session,
    out: OutOption = None,
    minutes: MinutesOption = DEFAULT_MINUTES,
    corpus: CorpusOption = None,
) -> None:
    """Go the whole path on the embedded model, on the CPU: from code to a better model."""
    from fim.quickstart import run_quickstart

    resolved = session.resolve(preset="cpu")
    outcome = run_quickstart(
        resolved,
        minutes=minutes,
        out=out,
        corpus=corpus,
        command=program_name(),
        progress=session.progress,
    )
    if session.output.is_json:
        session.output.write_json(outcome.as_json())
        return
    _show(session, outcome)


def _show(session: Session, outcome: QuickstartOutcome) -> None:
    from fim.quickstart import next_commands

    output = session.output
    for hole in outcome.shown:
        output.table(
            (hole.path, hole.kind),
            (
                ("prefix", _tail(hole.prefix_tail)),
                ("gold", _shortened(hole.gold)),
                ("base", _shortened(hole.base)),
                ("tuned", _shortened(hole.tuned)),
            ),
        )
    rows = [
        (
            _LABELS.get(name, name),
            f"{gain.found.a:.3f}",
            f"{gain.found.b:.3f}",
            f"{gain.found.difference:+.3f}",
            f"{gain.found.low:+.3f} to {gain.found.high:+.3f}",
        )
        for name, gain in outcome.gains.items()
    ]
    output.table(
        (f"{outcome.num_holes} held-out holes", ">base", ">tuned", ">difference", "95 % interval"),
        rows,
    )
    figures = tuple(_LABELS)
    output.table(
        ("asked on the same holes", *(f">{_SHORT_LABELS[figure]}" for figure in figures)),
        [
            (name, *(_figure(result.metrics.get(figure)) for figure in figures))
            for name, result in outcome.contestants.items()
        ],
    )
    for line in _remarks(outcome):
        output.say(line)
    output.say("\ntry next:")
    for line in next_commands(outcome, program_name()):
        output.say(line)


def _remarks(outcome: QuickstartOutcome) -> list[str]:
    forms = {gain.base_form.removeprefix("base, ") for gain in outcome.gains.values()}
    more = math.ceil(_MORE_TIME * outcome.seconds / 600) * 10
    longer = [f"more training and more holes tell more: the same command with --minutes {more}"]
    return [
        f"on {outcome.num_files} files that training never saw, the tuned model is "
        f"{_VERDICTS[outcome.verdict]}",
        f"base: the better of its forms for each figure ({', '.join(sorted(forms))})",
        f"{outcome.seconds / 60:.1f} minutes, peak memory {outcome.peak_memory_mib:,.0f} MiB",
        f"report: {outcome.run.shown_path}/report.html",
        *(longer if outcome.verdict == _NOT_ENOUGH else []),
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _tail(text: str) -> str:
    return "\n".join(text.split("\n")[-SHOWN_LINES:])


def _shortened(text: str) -> str:
    if not text.strip():
        return repr(text)
    lines = text.split("\n")
    more = ["…"] if len(lines) > SHOWN_ANSWER_LINES else []
    return "\n".join([*lines[:SHOWN_ANSWER_LINES], *more])
