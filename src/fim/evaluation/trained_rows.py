"""What an adapter was trained on, as hashes: kept in its run and beside it, read by the leak check.

A row is known by its three texts, its file by all of them together, and its document by its name;
runs of white space count as one space. 64 bits of each are kept, without the texts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.runs.writing import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from fim.types import FimExample

TRAINED_ROWS_FILE = "trained_rows.json"
VERSION = 1
_HASH_BYTES = 8
_LEVELS_UP = 2
_RUN_MARK = "STATUS"
_MIN_NAMELESS_ID = 16


@dataclass(frozen=True, slots=True)
class TrainedRows:
    """Hashes of the rows that a run trains on, of their whole texts and of their documents."""

    rows: frozenset[bytes]
    texts: frozenset[bytes]
    documents: frozenset[bytes]

    @classmethod
    def of(cls, examples: Iterable[FimExample]) -> TrainedRows:
        """Return the hashes of some examples."""
        rows, texts, documents = set(), set(), set()
        for example in examples:
            rows.add(hash_row(example))
            texts.add(hash_text(example))
            documents.add(hash_document(example))
        return cls(frozenset(rows), frozenset(texts), frozenset(documents - {b""}))

    def as_json(self) -> dict[str, object]:
        """Return the record: sorted hashes of eight bytes each, in base 64."""
        return {
            "version": VERSION,
            "rows": _packed(self.rows),
            "texts": _packed(self.texts),
            "documents": _packed(self.documents),
        }

    def write(self, folder: Path) -> Path:
        """Keep the record in a folder and return its file.

        Raises:
            RunFolderError: The file system refused.
        """
        return write_json(folder / TRAINED_ROWS_FILE, self.as_json())


def find_trained_rows(adapter: Path) -> TrainedRows | None:
    """Return what an adapter was trained on: from beside it, else from the run that it lies in.

    None where there is no record, or one that cannot be read.
    """
    folder = adapter.resolve()
    runs = (each for each in folder.parents[:_LEVELS_UP] if (each / _RUN_MARK).is_file())
    for place in (folder, *runs):
        found = read_json(place / TRAINED_ROWS_FILE)
        if found is not None:
            return _read(found)
    return None


def hash_row(example: FimExample) -> bytes:
    """Return the hash of a row's prefix, middle and suffix."""
    return _hash(example.prefix, example.middle, example.suffix)


def hash_text(example: FimExample) -> bytes:
    """Return the hash of the whole text of a row, wherever its hole is."""
    return _hash(example.prefix + example.middle + example.suffix)


def hash_document(example: FimExample) -> bytes:
    """Return the hash of a document's name; empty where the name may be that of another one."""
    is_placed = example.repo or example.path or len(example.document_id) >= _MIN_NAMELESS_ID
    if not example.document_id or not is_placed:
        return b""
    return _hash(example.repo or "", example.path or "", example.document_id)


def _hash(*texts: str) -> bytes:
    digest = hashlib.blake2b(digest_size=_HASH_BYTES)
    for text in texts:
        raw = " ".join(text.split()).encode("utf-8", "surrogatepass")
        digest.update(len(raw).to_bytes(_HASH_BYTES, "big") + raw)
    return digest.digest()


def _packed(hashes: Iterable[bytes]) -> str:
    return base64.b64encode(b"".join(sorted(hashes))).decode("ascii")


def _read(found: Mapping[str, object]) -> TrainedRows | None:
    if found.get("version") != VERSION:
        return None
    try:
        raw = [
            base64.b64decode(str(found[name]), validate=True)
            for name in ("rows", "texts", "documents")
        ]
    except (KeyError, binascii.Error):
        return None
    rows, texts, documents = (
        frozenset(each[at : at + _HASH_BYTES] for at in range(0, len(each), _HASH_BYTES))
        for each in raw
    )
    return TrainedRows(rows, texts, documents)
