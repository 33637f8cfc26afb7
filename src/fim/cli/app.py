"""The ``fim`` command.

How a command is added: write a file like ``config_commands.py`` that imports nothing heavy at its
top and has one function ``register(app)``; in it make a group (``typer.Typer``) or use ``app``
itself, pass each function to ``fim.cli.command.command``, and name ``register`` in
``COMMAND_FILES`` below. The tests then freeze the options of the new command.

Exit codes: 0 done, 1 unexpected, 2 usage or configuration, the rest by ``FimError.exit_code``, 130
for Ctrl-C, 141 where the reader of the answer went away. With ``--json`` every failure is one
object on stdout, a wrong command line included.
"""

from __future__ import annotations

import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
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
from fim.cli.output import Output, OutputMode
from fim.cli.program import PROGRAM_NAME
from fim.cli.streams import answers_apart
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
ERROR_FILE = "last-error.txt"
_MOST_CHARS = 400


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
        status = _run(given)
        answers.flush()
    except FimError as problem:
        _output(given).error(problem)
        status = problem.exit_code
    except SystemExit:
        sys.stdout = sys.stderr
        raise
    sys.stdout = sys.stderr
    sys.exit(status)


def _run(given: list[str]) -> int:
    """Run the command line and return its exit code."""
    parsed = typer.main.get_command(app)
    try:
        status = parsed.main(given, prog_name=PROGRAM_NAME, standalone_mode=False)
    except TyperException as problem:
        return _tell_usage(problem, given)
    except typer.Abort as abort:
        raise abort.__cause__ or abort from None
    return int(status or 0)


def _tell_usage(problem: TyperException, given: Sequence[str]) -> int:
    """Tell what is wrong with a command line, unless its help was shown in place of it."""
    context = getattr(problem, "ctx", None)
    called = PROGRAM_NAME if context is None else context.command_path
    if problem.format_message() or JSON_FLAG in given:
        _output(given).error(usage_error(problem.format_message(), called))
    return int(problem.exit_code)


def _output(given: Sequence[str]) -> Output:
    return Output(OutputMode.JSON if JSON_FLAG in given else OutputMode.HUMAN)


def report_unexpected(
    arguments: Sequence[str],
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
) -> None:
    """Tell an unexpected failure in one line; its traceback goes to a file, or is shown.

    Args:
        arguments: The command line.
        kind: Class of the failure.
        error: The failure.
        trace: Where it happened.
    """
    output = _output(arguments)
    told = "".join(traceback.format_exception(kind, error, trace)).rstrip()
    is_debug = is_debug_wanted(SharedOptions(is_debug=DEBUG_FLAG in arguments))
    if is_debug:
        output.say(told)
    again = shlex.join((PROGRAM_NAME, *_debugged(arguments)))
    kept = "" if is_debug or trace is None else _kept(f"{again}\n\n{told}\n")
    said = " ".join(str(error).split())[:_MOST_CHARS]
    output.error(
        FimError(
            f"unexpected {kind.__name__}: {said or 'no more is known'}",
            hint="" if is_debug else f"run again with --debug and report it: {again}",
            context={"traceback": kept} if kept else {},
        )
    )
    if kept and not output.is_json:
        output.say(f"its traceback is in {shlex.quote(kept)}")


def _debugged(arguments: Sequence[str]) -> Sequence[str]:
    """Return a command line with ``--debug``, before what is no option any more."""
    cut = arguments.index("--") if "--" in arguments else len(arguments)
    return (*arguments[:cut], DEBUG_FLAG, *arguments[cut:])


def _kept(told: str) -> str:
    """Write a traceback into the user's cache and return its path, empty where that fails."""
    from fim.config import cache_folder
    from fim.runs.writing import write_text

    with suppress(FimError, OSError, RuntimeError):
        return str(write_text(cache_folder() / ERROR_FILE, told))
    return ""


if __name__ == "__main__":  # pragma: no cover
    main()
