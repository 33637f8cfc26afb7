"""How a command is made: shared options, settings, output and errors in one place.

A function registered with ``command`` gets a ``Session`` first and its own options after it. The
options that every command has (``--preset``, ``--set``, ``--json``, ``-q``, ``-v``, ``--debug``)
are added to it, and its ``FimError`` becomes a message with its exit code::

    def train(session: Session, data: DataOption = None) -> None:
        settings = session.resolve({"data.path": data}).settings
        session.output.write_json({...}) if session.output.is_json else session.output.say("done")

    command(app, "train", examples=("fim train --preset cpu",))(train)
"""

from __future__ import annotations

import errno
import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from fim.cli.output import Output, OutputMode
from fim.cli.progress import make_progress
from fim.errors import ConfigError, FimError, InvalidSettingError, OutputError
from fim.types import Progress

if TYPE_CHECKING:
    from fim.config import LogSettings, ResolvedSettings

INTERRUPTED_EXIT_CODE = 130
_FULL = "free some space, or have it written to another disk; df -h shows which one is full"
_CLOSED = "give yourself permission there, or name another place"
_REFUSALS = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: "name a place on a disk that can be written",
    errno.EACCES: _CLOSED,
    errno.EPERM: _CLOSED,
    errno.EMFILE: "ulimit -n 4096",
    errno.EIO: "look at the disk: dmesg | tail",
    errno.EPIPE: "a program that this command runs ended early; run it again with --debug",
}

CommandFunction = Callable[..., None]


def _preset_names(incomplete: str) -> list[str]:
    """Complete the name of a preset."""
    from fim.config import PRESETS

    return [name for name in PRESETS if name.startswith(incomplete)]


PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Values for a machine: cpu, 8gb, t4, 24gb, 80gb; none for no preset.",
        metavar="NAME",
        autocompletion=_preset_names,
        show_default=False,
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Set any value, for example train.seed=1. May be repeated.",
        metavar="KEY=VALUE",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Answer with one JSON object on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Log details as well.")]
DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@dataclass(frozen=True, slots=True)
class SharedOptions:
    """The options that every command has."""

    preset: str | None = None
    assignments: tuple[str, ...] = ()
    is_json: bool = False
    is_quiet: bool = False
    is_verbose: bool = False
    is_debug: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """What a command works with.

    Args:
        output: The only sink.
        progress: Progress that fits the output.
        options: What the user gave.
    """

    output: Output
    progress: Progress
    options: SharedOptions

    @property
    def overrides(self) -> dict[str, object]:
        """Return the values given with ``--set``, by dotted key.

        Raises:
            InvalidSettingError: an argument is not ``KEY=VALUE``.
        """
        return dict(_assignment(text) for text in self.options.assignments)

    def resolve(
        self, overrides: Mapping[str, object] | None = None, *, preset: str | None = None
    ) -> ResolvedSettings:
        """Load the settings and configure logging by them.

        Args:
            overrides: Values of the command's own options by dotted key; None is not given.
            preset: Preset of a command that is meant for one; ``--preset`` still wins.

        Raises:
            ConfigError: settings that cannot be used, all of them in one error.
        """
        from fim.config import load_settings
        from fim.logger import get_logger

        given = {key: value for key, value in (overrides or {}).items() if value is not None}
        resolved = load_settings(
            overrides=self.overrides | given, preset=self.options.preset or preset
        )
        self._start_log(resolved.settings.log)
        for note in resolved.notes:
            get_logger("settings").info(note)
        return resolved

    def _start_log(self, log: LogSettings) -> None:
        from fim.logger import configure_logging

        level = "ERROR" if self.options.is_quiet else log.level
        try:
            configure_logging(
                level="DEBUG" if self.options.is_verbose else level,
                format=log.format,
                file=log.file,
            )
        except OSError as error:
            message = f"log.file is {log.file}, which cannot be written: {error.strerror}"
            raise InvalidSettingError(
                message, hint="set log.file to a writable path, or to none"
            ) from error


def command(
    app: typer.Typer, name: str, *, examples: Sequence[str], is_hidden: bool = False
) -> Callable[[CommandFunction], CommandFunction]:
    """Register a function as a command with the shared options.

    Args:
        app: Group that gets the command.
        name: Verb.
        examples: Command lines for ``--help``; at least one.
        is_hidden: Leave the command out of the group's help.
    """

    def register(function: CommandFunction) -> CommandFunction:
        runner = _runner(function)
        epilog = "\n\n".join(("Examples:", *examples))
        app.command(name, epilog=epilog, hidden=is_hidden)(runner)
        return function

    return register


def is_debug_wanted(options: SharedOptions) -> bool:
    """Tell whether tracebacks are shown: ``--debug`` or ``FIM_DEBUG``."""
    from fim.config import read_switches

    with suppress(OSError):
        return options.is_debug or read_switches().debug
    return options.is_debug


def _runner(function: CommandFunction) -> CommandFunction:
    """Return a function with the options of another and the shared ones, errors translated."""
    own = tuple(inspect.signature(function, eval_str=True).parameters.values())[1:]
    shared = tuple(inspect.signature(_shared_options, eval_str=True).parameters.values())

    def run(**values: object) -> None:
        given = {item.name: values.pop(item.name) for item in shared}
        options = _shared_options(**given)  # type: ignore[arg-type]
        output = _output(options, sys.stdout)
        with redirect_stdout(sys.stderr), _told(output, options):
            function(_session(output, options), **values)

    parameters = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in (*own, *shared)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    run.__doc__ = function.__doc__
    run.__name__ = function.__name__
    return run


def _output(options: SharedOptions, answers: TextIO) -> Output:
    """Return the sink of a command."""
    mode = OutputMode.JSON if options.is_json else OutputMode.HUMAN
    return Output(
        OutputMode.QUIET if options.is_quiet and not options.is_json else mode,
        is_hushed=options.is_quiet,
        stdout=answers,
    )


def _session(output: Output, options: SharedOptions) -> Session:
    """Return the session of a command.

    Raises:
        ConfigError: The working folder is gone.
    """
    from fim.config import read_switches

    _require_working_folder()
    progress = make_progress(output, is_wanted=not read_switches().no_progress)
    return Session(output=output, progress=progress, options=options)


def _require_working_folder() -> None:
    try:
        os.getcwd()  # noqa: PTH109
    except OSError as error:
        name = ""
        with suppress(OSError):
            name = " " + os.readlink("/proc/self/cwd").removesuffix(" (deleted)")  # noqa: PTH115
        raise ConfigError(
            f"the working folder{name} is gone or closed ({error.strerror}), so neither its "
            "settings nor relative paths can be read",
            hint="cd /",
        ) from error


@contextmanager
def _told(output: Output, options: SharedOptions) -> Iterator[None]:
    """Tell the failure of a command and turn it into an exit code."""
    try:
        yield
    except FimError as problem:
        raise _exit(problem, output, options) from problem
    except OSError as error:
        refused = system_refusal(error)
        if refused is None:
            raise
        raise _exit(refused, output, options) from error
    except KeyboardInterrupt as interrupt:
        output.warn("interrupted; nothing more was done")
        raise typer.Exit(INTERRUPTED_EXIT_CODE) from interrupt


def _exit(problem: FimError, output: Output, options: SharedOptions) -> typer.Exit:
    if is_debug_wanted(options):
        output.say(traceback.format_exc().rstrip())
    output.error(problem)
    return typer.Exit(problem.exit_code)


def system_refusal(error: OSError) -> OutputError | None:
    """Return what to tell where the system refused something that no command foresaw.

    None for failures that are rather a fault of the program.
    """
    hint = _REFUSALS.get(error.errno or 0)
    if hint is None:
        return None
    reason = error.strerror or str(error)
    what = f"{error.filename}: {reason}" if error.filename else reason
    return OutputError(
        f"the system refuses what this command needs ({what}), so it stops",
        hint=hint,
        context={"reason": reason, "path": str(error.filename or "")},
    )


def _shared_options(
    preset: PresetOption = None,
    assignments: SetOption = None,
    is_json: JsonOption = False,
    is_quiet: QuietOption = False,
    is_verbose: VerboseOption = False,
    is_debug: DebugOption = False,
) -> SharedOptions:
    return SharedOptions(preset, tuple(assignments or ()), is_json, is_quiet, is_verbose, is_debug)


def _assignment(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        message = f"--set {text} is not KEY=VALUE, so nothing can be set by it"
        raise InvalidSettingError(message, hint="write it like --set train.seed=1")
    return key.strip(), value


def usage_error(message: str, called: str) -> ConfigError:
    """Return the error of a command line that cannot be parsed.

    Args:
        message: What is wrong with it.
        called: The command that was called, as far as it is known.
    """
    return ConfigError(message, hint=f"{called} --help")
