"""Keep the loading chatter of libraries off the terminal."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHATTY_LOGGERS = ("bitsandbytes",)


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Hide progress bars, warnings and notices of the model libraries, then restore their settings.

    Bars that a library draws past its own switch go to standard error; that stream is swallowed
    too. Exceptions and log records of fim are not affected.
    """
    from transformers.utils import logging as library_logging

    had_bars = library_logging.is_progress_bar_enabled()
    verbosity = library_logging.get_verbosity()
    library_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    library_logging.set_verbosity(logging.ERROR)
    try:
        with _quiet_loggers(), warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        library_logging.set_verbosity(verbosity)
        if had_bars:
            library_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def _quiet_loggers() -> Iterator[None]:
    """Hold chatty loggers at errors."""
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
