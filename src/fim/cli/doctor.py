"""``fim doctor``: what this machine has, what fits, what to fix."""

from __future__ import annotations

import typer

from fim.cli.command import Session, command
from fim.errors import SetupError


def register(app: typer.Typer) -> None:
    """Add ``fim doctor``."""
    command(app, "doctor", examples=("fim doctor", "fim doctor --json"))(doctor)


def doctor(session: Session) -> None:
    """Look at versions, accelerator, memory and disk; exit code 4 when something fails."""
    from fim import __version__
    from fim.cli.diagnosis import diagnose, is_healthy
    from fim.cli.machine import inspect_machine
    from fim.config import c_compiler, check_settings, hub_token_place, read_switches

    problems = check_settings(overrides=session.overrides, preset=session.options.preset)
    rows = diagnose(
        inspect_machine(
            fim_version=__version__,
            cache_dir=read_switches().cache_dir,
            hub_token_place=hub_token_place(),
            c_compiler=c_compiler(),
            num_setting_problems=len(problems),
        )
    )
    if session.output.is_json:
        answer = {"ok": is_healthy(rows), "rows": [row.as_json() for row in rows]}
        session.output.write_json(answer)
    session.output.table(
        ("check", "status", "found", "fix"),
        [(row.name, row.status, row.value, row.fix) for row in rows],
        is_answer=True,
    )
    if not is_healthy(rows):
        raise typer.Exit(SetupError.exit_code)
