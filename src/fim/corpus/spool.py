"""Keep the text of every document once, on disk, while a set is built."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fim.corpus.documents import Document

_ENCODING = ("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document whose text lies in a spool file.

    Args:
        document: All of the document but its text.
        file: Name of the spool file.
        offset: Where the text begins (bytes).
        num_bytes: Length of the text (bytes).
        lines: Pairs of first and last line (from 1) that alone may hold holes; None allows all.
        family: Versions of one file have one family.
    """

    document: Document
    file: str
    offset: int
    num_bytes: int
    lines: tuple[tuple[int, int], ...] | None = None
    family: str = ""

    @property
    def key(self) -> str:
        """Name the document by its place."""
        return f"{self.document.repo}/{self.document.path}"


class Spool:
    """Texts in one folder: each process writes a file of its own, all processes read them all.

    Args:
        folder: Where the files lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"texts-{os.getpid()}.bin"
        self._writing: int | None = None
        self._offset = 0
        self._reading: dict[str, int] = {}

    def add(
        self,
        document: Document,
        *,
        lines: tuple[tuple[int, int], ...] | None = None,
        family: str = "",
    ) -> StoredDocument:
        """Write a document's text and return the document without it.

        Raises:
            OSError: The file cannot be written.
        """
        if self._writing is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._writing = os.open(self._folder / self._name, flags, 0o600)
            self._offset = os.fstat(self._writing).st_size
        content = document.text.encode(*_ENCODING)
        written = 0
        while written < len(content):
            written += os.write(self._writing, content[written:])
        stored = StoredDocument(
            replace(document, text=""), self._name, self._offset, len(content), lines, family
        )
        self._offset += len(content)
        return stored

    def text(self, stored: StoredDocument) -> str:
        """Return a document's text.

        Raises:
            OSError: The file cannot be read.
        """
        if stored.file not in self._reading:
            self._reading[stored.file] = os.open(self._folder / stored.file, os.O_RDONLY)
        content = os.pread(self._reading[stored.file], stored.num_bytes, stored.offset)
        return content.decode(*_ENCODING)

    def load(self, stored: StoredDocument) -> Document:
        """Return a document with its text.

        Raises:
            OSError: The file cannot be read.
        """
        return replace(stored.document, text=self.text(stored))

    def close(self) -> None:
        """Close every file."""
        for descriptor in (*self._reading.values(), self._writing):
            if descriptor is not None:
                os.close(descriptor)
        self._reading, self._writing = {}, None
