"""The only sink of the command line: answers to stdout, talk to stderr.

Three modes: ``human`` talks and shows tables, ``json`` answers with one JSON object and no table,
``quiet`` drops all talk but warnings and errors. Nobody's text is ever taken as markup, and in talk
and tables no character of it acts on the terminal.
"""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import TYPE_CHECKING, TextIO

from fim.cli.streams import UnwrittenAnswerError
from fim.errors import FimError
from fim.logger import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH_CHARS = 80


class OutputMode(StrEnum):
    """Who reads the output."""

    HUMAN = "human"
    JSON = "json"
    QUIET = "quiet"


class Output:
    """Writes answers and talk.

    Args:
        mode: Who reads.
        is_hushed: Drop talk in every mode.
        stdout: Stream of answers; None takes the process's.
        stderr: Stream of talk; None takes the process's.
    """

    def __init__(
        self,
        mode: OutputMode = OutputMode.HUMAN,
        *,
        is_hushed: bool = False,
        stdout: TextIO | None = None,
        stderr: TextIO | None = None,
    ) -> None:
        self.mode = mode
        self._is_hushed = is_hushed
        self._stdout = stdout
        self._stderr = stderr

    @property
    def is_json(self) -> bool:
        """Tell whether the answer is one JSON object."""
        return self.mode is OutputMode.JSON

    @property
    def is_quiet(self) -> bool:
        """Tell whether talk is dropped."""
        return self._is_hushed or self.mode is OutputMode.QUIET

    def write_text(self, text: str) -> None:
        """Write an answer to stdout, byte for byte: UTF-8, no newline added, no translation."""
        stream = self._stdout or sys.stdout
        stream.flush()
        binary = getattr(stream, "buffer", None)
        if binary is None:
            stream.write(text)
        else:
            binary.write(text.encode("utf-8", errors="surrogateescape"))
            binary.flush()
        stream.flush()

    def write_json(self, answer: Mapping[str, object]) -> None:
        """Write the one JSON object that answers; numbers that JSON lacks become null."""
        self.write_text(json.dumps(_json_ready(answer), indent=2) + "\n")

    def say(self, message: str) -> None:
        """Tell something on stderr."""
        if not self.is_quiet:
            self._print(message)

    def hint(self, message: str) -> None:
        """Tell the next command on stderr."""
        if not self.is_quiet:
            self._print(message, label="hint", style="cyan")

    def warn(self, message: str) -> None:
        """Tell something that deserves attention, even in quiet mode, on stderr."""
        self._print(message, label="warning", style="yellow")

    def error(self, problem: FimError) -> None:
        """Tell a failure: what, why and the next command; one object on stdout in JSON mode.

        Where standard output takes no object, the failure is told on stderr.
        """
        if self.is_json and not isinstance(problem, UnwrittenAnswerError):
            with suppress(UnwrittenAnswerError):
                self.write_json(problem.as_json())
                return
        self._print(problem.message, label="error", style="bold red")
        if problem.hint:
            self._print(problem.hint, label="hint", style="cyan")

    def table(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[str]],
        *,
        title: str = "",
        is_answer: bool = False,
    ) -> None:
        """Show a table that fits the terminal, or 80 columns where there is none.

        Args:
            columns: Heads; one that begins with ``>`` is aligned to the right.
            rows: Cells.
            title: Line above the table.
            is_answer: The table is what was asked for: it goes to stdout, also in quiet mode.
        """
        if self.is_json or (self.is_quiet and not is_answer):
            return
        self.console(is_answer=is_answer).print(_table(columns, rows, title))

    def console(self, *, is_answer: bool = False) -> Console:
        """Return a rich console on stderr, or on stdout for an answer; it takes no markup."""
        from rich.console import Console

        given = self._stdout if is_answer else self._stderr
        answers = self._stdout or sys.stdout
        if is_answer and isinstance(answers, io.TextIOWrapper):
            answers.reconfigure(errors="replace")
        console = Console(
            file=given, stderr=not is_answer, markup=False, highlight=False, emoji=False
        )
        if not console.is_terminal:
            console.width = max(console.width, PLAIN_WIDTH_CHARS)
        return console

    def _print(self, message: str, *, label: str = "", style: str = "") -> None:
        from rich.text import Text

        head = Text(f"{label}: ", style=style) if label else Text()
        self.console().print(head + Text(visible(message)), soft_wrap=True)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = [[visible(cell) for cell in row] for row in rows]
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(visible(title), style="bold") if title else None,
        title_justify="left",
        pad_edge=False,
    )
    for index, column in enumerate(columns):
        table.add_column(
            Text(visible(column.removeprefix(">"))),
            justify="right" if column.startswith(">") else "left",
            overflow="fold",
            min_width=_first_width(rows) if index == 0 else None,
        )
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _first_width(rows: Sequence[Sequence[str]]) -> int:
    """Return the width that keeps the names in the first column in one piece, within reason."""
    return min(max((len(row[0]) for row in rows), default=0), PLAIN_WIDTH_CHARS // 2)


def _json_ready(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | int | float):
        return value
    return str(value)
