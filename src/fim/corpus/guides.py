"""Files that say something about others: marks, ignore rules, licences, from the top down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.attributes import ATTRIBUTES_FILE, LOCAL_ATTRIBUTES
from fim.corpus.ignores import IGNORE_FILE
from fim.corpus.licence import is_licence_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fim.corpus.scan import Source, SourceEntry

_MAX_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Guides:
    """What was read of such files.

    Args:
        texts: Content by path from the top of the repository.
        unread: Paths of those that cannot be read.
    """

    texts: Mapping[str, bytes]
    unread: tuple[str, ...] = ()


def read_guides(
    source: Source, found: Iterable[tuple[str, SourceEntry]], *, local: bytes = b""
) -> Guides:
    """Return the guides among files.

    Args:
        source: Reads them.
        found: Path from the top and entry of each file.
        local: Attributes that were set in one clone alone.
    """
    texts, unread = {LOCAL_ATTRIBUTES: local} if local else {}, []
    for path, entry in found:
        if entry.reason is None and _is_guide(path):
            try:
                if source.size_bytes(entry) <= _MAX_BYTES:
                    texts[path] = source.read(entry)
            except OSError:
                unread.append(path)
    return Guides(texts, tuple(unread))


def _is_guide(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in (ATTRIBUTES_FILE, IGNORE_FILE) or is_licence_file(path)
