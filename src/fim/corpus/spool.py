"""Keep the text of every document once, on disk, while a set is built."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from fim.corpus.documents import Document
    from fim.corpus.history import History

_ENCODING = ("utf-8", "surrogatepass")


@dataclass(frozen=True, slots=True)
class SpoolPlace:
    """Bytes in a spool file: its name, where they begin and how many they are."""

    file: str
    offset: int
    num_bytes: int


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
        history: When this version was made, where git tells.
    """

    document: Document
    file: str
    offset: int
    num_bytes: int
    lines: tuple[tuple[int, int], ...] | None = None
    family: str = ""
    history: History | None = None

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
        history: History | None = None,
    ) -> StoredDocument:
        """Write a document's text and return the document without it.

        Raises:
            OSError: The file cannot be written.
        """
        place = self.keep(document.text.encode(*_ENCODING))
        return StoredDocument(
            replace(document, text=""),
            place.file,
            place.offset,
            place.num_bytes,
            lines,
            family,
            history,
        )

    def keep(self, content: bytes) -> SpoolPlace:
        """Write bytes and return where they lie.

        Raises:
            OSError: The file cannot be written.
        """
        if self._writing is None:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
            self._writing = os.open(self._folder / self._name, flags, 0o600)
            self._offset = os.fstat(self._writing).st_size
        written = 0
        while written < len(content):
            written += os.write(self._writing, content[written:])
        place = SpoolPlace(self._name, self._offset, len(content))
        self._offset += len(content)
        return place

    def text(self, stored: StoredDocument) -> str:
        """Return a document's text.

        Raises:
            OSError: The file cannot be read.
        """
        return self.read(stored).decode(*_ENCODING)

    def read(self, place: SpoolPlace | StoredDocument) -> bytes:
        """Return the bytes of a place.

        Raises:
            OSError: The file cannot be read.
        """
        if place.file not in self._reading:
            self._reading[place.file] = os.open(self._folder / place.file, os.O_RDONLY)
        return os.pread(self._reading[place.file], place.num_bytes, place.offset)

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
