"""The only place that configures logging.

Every module logs through ``get_logger(__name__)``; a command calls ``configure_logging`` once.
The log goes to stderr, as text or one JSON object a line, and to a file where one is asked for.
"""

from __future__ import annotations

import json
import logging
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from unicodedata import category

ROOT_NAME = "fim"
_TEXT_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_STANDARD_ATTRIBUTES = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, extra facts, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line of JSON."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {
            name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


class _LogFile(logging.FileHandler):
    """A log file that stops where it cannot be written any more, and says so once on stderr."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Take the file out of the log where the file system refuses, else tell as usual."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        logger = logging.getLogger(ROOT_NAME)
        logger.removeHandler(self)
        with suppress(OSError):
            self.close()
        reason = error.strerror or str(error)
        logger.warning("the log ends in %s, which cannot be written: %s", self.baseFilename, reason)


class TextFormatter(logging.Formatter):
    """Lines for people, in which no character of a file's name acts on the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text."""
        return visible(super().format(record))


def visible(text: str) -> str:
    r"""Return a text with all that a terminal would act on or swallow written as an escape.

    Line feeds, tabs and all kinds of spaces stay.

    >>> visible("a\x1b[2Jb\r")
    'a\\x1b[2Jb\\r'
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    is_plain = character.isprintable() or character in "\n\t"
    return character if is_plain or category(character) == "Zs" else ascii(character)[1:-1]


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module: ``fim.<name>``, or ``name`` itself when below ``fim``."""
    below = name == ROOT_NAME or name.startswith(f"{ROOT_NAME}.")
    return logging.getLogger(name if below else f"{ROOT_NAME}.{name}")


def configure_logging(
    *,
    level: str = "INFO",
    format: str = "text",  # noqa: A002
    file: Path | None = None,
) -> None:
    """Send fim's log to stderr and to a file, in place of what was configured before.

    Args:
        level: Least severity, such as ``INFO``.
        format: ``text`` or ``json``.
        file: File to append to; None writes none.

    Raises:
        OSError: the file cannot be opened.
    """
    handlers: list[logging.Handler] = [_stderr_handler(format)]
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        to_file = _LogFile(file, encoding="utf-8")
        to_file.setFormatter(_formatter(format))
        handlers.append(to_file)
    close_logging()
    logger = logging.getLogger(ROOT_NAME)
    logger.setLevel(level)
    for handler in handlers:
        logger.addHandler(handler)


def close_logging() -> None:
    """Remove and close what ``configure_logging`` set up."""
    logger = logging.getLogger(ROOT_NAME)
    for handler in tuple(logger.handlers):
        logger.removeHandler(handler)
        handler.close()


def _formatter(layout: str) -> logging.Formatter:
    return JsonFormatter() if layout == "json" else TextFormatter(_TEXT_FORMAT)


def _stderr_handler(layout: str) -> logging.Handler:
    if layout == "text" and sys.stderr.isatty():
        from rich.console import Console
        from rich.logging import RichHandler

        on_terminal = RichHandler(
            console=Console(stderr=True), show_path=False, rich_tracebacks=False
        )
        on_terminal.setFormatter(TextFormatter("%(message)s"))
        return on_terminal
    handler = logging.StreamHandler()
    handler.setFormatter(_formatter(layout))
    return handler
