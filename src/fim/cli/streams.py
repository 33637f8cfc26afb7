"""The process's own streams: what happens where one is closed, full, or has lost its reader."""

from __future__ import annotations

import io
import os
import sys
from typing import TYPE_CHECKING, TextIO, cast

from fim.errors import OutputError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

READER_GONE_EXIT_CODE = 141
_LAST_STANDARD_DESCRIPTOR = 2


class UnwrittenAnswerError(OutputError):
    """An answer that standard output does not take."""


class AnswerFile(io.FileIO):
    """Standard output: the first write that fails ends the command, later ones are dropped."""

    is_lost = False

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes.

        Raises:
            SystemExit: The reader of the pipe has gone, as after ``| head``.
            UnwrittenAnswerError: The answer cannot be written, as on a full disk.
        """
        if self.is_lost:
            return memoryview(data).nbytes
        try:
            return super().write(data)
        except BrokenPipeError:
            self.is_lost = True
            raise SystemExit(READER_GONE_EXIT_CODE) from None
        except OSError as error:
            self.is_lost = True
            reason = error.strerror or str(error)
            raise UnwrittenAnswerError(
                f"the answer cannot be written to standard output ({reason}), so it is not whole",
                hint="free some space there, or send the answer elsewhere",
                context={"reason": reason},
            ) from error


class TalkFile(io.FileIO):
    """Standard error: what cannot be written there is dropped, and the work goes on."""

    def write(self, data: ReadableBuffer, /) -> int:
        """Write bytes, or drop them."""
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def answers_apart() -> TextIO | None:
    """Keep standard output for answers: whatever else writes to descriptor 1 ends on stderr.

    Libraries print banners there, from Python, from C and from child processes. A copy of the
    descriptor stays for answers. A standard stream that is closed is opened on nothing first, so
    that no file of the work takes its number.

    Returns:
        The stream for answers; None where Python's standard output is not the process's own.
    """
    _open_closed_descriptors()
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    elif sys.stderr is sys.__stderr__:
        sys.stderr = _talk(cast("io.TextIOWrapper", sys.stderr))
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    if sys.stdout is not sys.__stdout__:
        return None
    own = cast("io.TextIOWrapper", sys.stdout)
    own.flush()
    kept = AnswerFile(os.dup(own.fileno()), "w")
    os.dup2(2, 1)
    return io.TextIOWrapper(
        io.BufferedWriter(kept), encoding=own.encoding, errors=own.errors, newline=""
    )


def _talk(own: io.TextIOWrapper) -> TextIO:
    own.flush()
    raw = TalkFile(own.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw), encoding=own.encoding, errors=own.errors, line_buffering=True
    )


def _open_closed_descriptors() -> None:
    while (opened := os.open(os.devnull, os.O_RDWR)) <= _LAST_STANDARD_DESCRIPTOR:
        os.set_inheritable(opened, True)  # noqa: FBT003
    os.close(opened)
