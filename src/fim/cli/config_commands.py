"""``fim config``: what is set, why, and whether it can be used.

This file is the example of how a command file looks: light imports, one ``register``, one function
per command that gets a ``Session`` and writes its answer through ``session.output``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from fim.cli.command import Session, command
from fim.logger import visible


def _setting_keys(incomplete: str) -> list[str]:
    """Complete the key of a setting."""
    from fim.config import known_settings

    return [key for key in known_settings() if key.startswith(incomplete)]


KeyArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        help="A setting, such as train.learning_rate or FIM_TRAIN_LEARNING_RATE.",
        autocompletion=_setting_keys,
    ),
]


def register(app: typer.Typer) -> None:
    """Add ``fim config`` and its commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Show, explain and check the settings and where they come from."
    )
    app.add_typer(group, name="config")
    command(group, "show", examples=("fim config show", "fim config show --preset cpu --json"))(
        show
    )
    command(
        group,
        "explain",
        examples=("fim config explain train.learning_rate", "fim config explain preset"),
    )(explain)
    command(group, "check", examples=("fim config check", "fim config check --json"))(check)


def show(session: Session) -> None:
    """Show every setting with its value and its source."""
    from fim.config import setting_values
    from fim.config.fields import as_text

    resolved = session.resolve()
    if session.output.is_json:
        session.output.write_json(resolved.as_json())
        return
    rows = [("preset", as_text(resolved.settings.preset), resolved.sources["preset"])]
    rows += [
        (key, as_text(value), resolved.sources[key])
        for key, value in setting_values(resolved.settings)
    ]
    session.output.table(("setting", "value", "source"), rows, is_answer=True)


def explain(session: Session, key: KeyArgument) -> None:
    """Tell everything about one setting: value, source, unit, range, what it overrode."""
    from fim.config import explain_setting
    from fim.config.fields import as_text

    resolved = session.resolve()
    explanation = explain_setting(key, resolved)
    if session.output.is_json:
        session.output.write_json(explanation.as_json())
        return
    lines = [
        f"{explanation.key} = {as_text(explanation.value)}",
        f"  {explanation.description}",
        f"  source    {explanation.source}",
    ]
    lines += [f"  overrode  {as_text(lost.value)} ({lost.source})" for lost in explanation.overrode]
    lines += [f"  must be   {explanation.accepts}"]
    lines += [f"  unit      {explanation.unit}"] if explanation.unit else []
    lines += [f"  default   {as_text(explanation.default)}", f"  variable  {explanation.env_name}"]
    session.output.write_text(visible("\n".join(lines)) + "\n")


def check(session: Session) -> None:
    """Find everything that is wrong with the settings; exit code 2 when something is."""
    from fim.config import check_settings, known_settings
    from fim.config.problems import problems_error

    problems = check_settings(overrides=session.overrides, preset=session.options.preset)
    if session.output.is_json:
        answer = {"ok": not problems, "problems": [problem.as_json() for problem in problems]}
        session.output.write_json(answer)
        if problems:
            raise typer.Exit(problems_error(problems).exit_code)
        return
    if problems:
        raise problems_error(problems)
    session.output.write_text(f"ok: {len(known_settings())} settings, no problem\n")
