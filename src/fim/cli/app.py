"""The ``fim`` command.

How a command is added: write a file like ``config_commands.py`` that imports nothing heavy at its
top and has one function ``register(app)``; in it make a group (``typer.Typer``) or use ``app``
itself, pass each function to ``fim.cli.command.command``, and name ``register`` in
``COMMAND_FILES`` below. The tests then freeze the options of the new command.

Exit codes: 0 done, 1 unexpected, 2 usage or configuration, the rest by ``FimError.exit_code``, 130
for Ctrl-C. With ``--json`` every failure is one object on stdout, a wrong command line included.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from fim.cli import (
    complete,
    config_commands,
    data_commands,
    doctor,
    eval_commands,
    export_commands,
    formats_commands,
    report_commands,
    runs_commands,
    training_commands,
)
from fim.cli.command import SharedOptions, is_debug_wanted, usage_error
from fim.cli.output import Output, OutputMode, answers_apart
from fim.cli.program import PROGRAM_NAME
from fim.errors import FimError

COMMAND_FILES: tuple[Callable[[typer.Typer], None], ...] = (
    training_commands.register,
    complete.register,
    data_commands.register,
    formats_commands.register,
    eval_commands.register,
    runs_commands.register,
    report_commands.register,
    export_commands.register,
    config_commands.register,
    doctor.register,
)
JSON_FLAG = "--json"
DEBUG_FLAG = "--debug"


def _show_version(is_wanted: bool) -> None:
    """Write the version and stop."""
    if is_wanted:
        from fim import __version__

        Output().write_text(f"{PROGRAM_NAME} {__version__}\n")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Train a code-completion model on your own code, and see that it got better.

    Start with fim doctor, then fim quickstart.
    """


def make_app() -> typer.Typer:
    """Return the command line with all its commands."""
    made = typer.Typer(
        name=PROGRAM_NAME,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_root)
    for register in COMMAND_FILES:
        register(made)
    return made


app = make_app()


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and leave the process with its exit code.

    Args:
        arguments: What to run in place of the process's arguments.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.excepthook = partial(report_unexpected, given)
    answers = answers_apart()
    if answers is None:
        sys.exit(_run(given))
    sys.stdout = answers
    try:
        sys.exit(_run(given))
    except SystemExit:
        answers.flush()
        sys.stdout = sys.stderr
        raise


def _run(given: list[str]) -> int:
    """Run the command line and return its exit code."""
    parsed = typer.main.get_command(app)
    if JSON_FLAG not in given:
        return int(parsed(given, prog_name=PROGRAM_NAME) or 0)
    try:
        status = parsed.main(given, prog_name=PROGRAM_NAME, standalone_mode=False)
    except TyperException as problem:
        Output(OutputMode.JSON).error(usage_error(problem.format_message()))
        return int(problem.exit_code)
    return int(status or 0)


def report_unexpected(
    arguments: Sequence[str],
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Tell an unexpected failure in one line, with its traceback only where debugging.

    Args:
        arguments: The command line.
        kind: Class of the failure.
        error: The failure.
        trace: Where it happened.
    """
    output = Output(OutputMode.JSON if JSON_FLAG in arguments else OutputMode.HUMAN)
    is_debug = is_debug_wanted(SharedOptions(is_debug=DEBUG_FLAG in arguments))
    if is_debug:
        output.say("".join(traceback.format_exception(kind, error, trace)).rstrip())
    again = " ".join([PROGRAM_NAME, *arguments, DEBUG_FLAG])
    problem = FimError(
        f"unexpected {kind.__name__}: {error}",
        hint="" if is_debug else f"run again with --debug and report it: {again}",
    )
    output.error(problem)


if __name__ == "__main__":  # pragma: no cover
    main()
