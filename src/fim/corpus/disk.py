"""Names of files as UTF-8 text, whatever the locale, and reading that never waits or follows."""

from __future__ import annotations

import os
import stat

_NO_FOLLOW = (
    getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
)


def name_of(found: str | bytes) -> str:
    """Return a file's name as UTF-8 text; bytes that are no UTF-8 become lone surrogates.

    Args:
        found: The name's bytes, or the text that the system's own encoding made of them.
    """
    return os.fsencode(found).decode("utf-8", "surrogateescape")


def place_of(name: str) -> str:
    """Return the text by which the system knows a name: the way back from ``name_of``."""
    return os.fsdecode(name.encode("utf-8", "surrogateescape"))


def read_regular(path: str) -> bytes:
    """Return a file's content.

    Raises:
        OSError: The file is gone, unreadable, a link or no regular file.
    """
    descriptor = os.open(path, os.O_RDONLY | _NO_FOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"{name_of(path)} is not a regular file")
        return file.read()
