"""Turn roots into documents: listed, gated, decoded, and every dropped file accounted for."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING
from unicodedata import is_normalized

from fim.corpus.decoding import Decoded, read_text
from fim.corpus.gates import plain_reason
from fim.corpus.git import MissingObjectError
from fim.corpus.hashing import content_hash, stable_hash
from fim.corpus.licence import is_denied, tagged_licence
from fim.corpus.listing import CorpusInput, FileRef, Listing
from fim.corpus.notebooks import is_notebook
from fim.corpus.reasons import DropReason, Tally
from fim.corpus.secrets import redact
from fim.corpus.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from fim.config import CorpusSettings
    from fim.corpus.notices import Notice
    from fim.corpus.roots import Root
    from fim.corpus.sources import Source
    from fim.types import Progress


@dataclass(frozen=True, slots=True)
class Document:
    """A source file that passed the gates.

    Args:
        repo: Name of the root it comes from.
        path: Path relative to that root, with forward slashes.
        language: Name from the language table.
        text: Decoded content, line ends as found, without a byte order mark.
        content: Hash of the exact text.
        licence: SPDX expression, empty where none is known.
        redactions: Each placeholder of a secret, ``kind:start-end:removed``: its kind, where it
            stands and how many characters it stands for.
        flags: ``not_nfc`` where a tokenizer that composes characters changes the text, and
            ``cr_line_ends`` where the file had carriage returns alone.
        encoding: What the file was in, empty for UTF-8.
    """

    repo: str
    path: str
    language: str
    text: str
    content: str
    licence: str = ""
    redactions: str = ""
    flags: str = ""
    encoding: str = ""

    @property
    def redacted_places(self) -> tuple[tuple[int, int], ...]:
        """Where placeholders of secrets stand (characters)."""
        places = (item.split(":")[1].split("-") for item in self.redactions.split())
        return tuple((int(start), int(end)) for start, end in places)

    @property
    def id(self) -> str:
        """Identify this content at this place."""
        return stable_hash(self.repo, self.path, self.content)


class DocumentReader:
    """Reads roots in order and counts what it saw and dropped.

    Args:
        settings: Limits of the gates.
        selection: Which files are read; None reads them all.
        progress: Told of every file read.
        on_drop: Told of every file dropped: its place and why.
    """

    def __init__(
        self,
        settings: CorpusSettings,
        *,
        selection: Selection | None = None,
        progress: Progress | None = None,
        on_drop: Callable[[str, str], None] | None = None,
    ) -> None:
        self._settings = settings
        self._progress = progress
        self.tally = Tally()
        self._listing = Listing(settings, selection or Selection(), self.tally, on_drop)

    @property
    def inputs(self) -> Sequence[CorpusInput]:
        """What was read, one for each root."""
        return self._listing.inputs

    @property
    def endings(self) -> Mapping[str, Mapping[str, int]]:
        """Reason -> ending -> how many files were left out for want of a language."""
        return self._listing.endings

    @property
    def roots(self) -> Sequence[Root]:
        """The roots that were listed, those met while walking included."""
        return self._listing.roots

    @property
    def notices(self) -> Sequence[Notice]:
        """What is to be said of the roots besides the counts."""
        return self._listing.notices

    def list(self, roots: Sequence[Path]) -> tuple[FileRef, ...]:
        """Return the files of every root that pass the gates by path, in order of root and path.

        Raises:
            SourceNotFoundError: A root is missing or is a repository that git cannot read.
        """
        return self._listing.files(roots)

    def read(self, roots: Sequence[Path]) -> Iterator[Document]:
        """Yield the documents of every root, in order of root and path.

        Raises:
            SourceNotFoundError: A root is missing or is a repository that git cannot read.
        """
        refs = self.list(roots)
        if self._progress is not None:
            self._progress.start("reading", len(refs))
        number = 0
        for place, group in groupby(refs, key=lambda ref: ref.place):
            with place.open() as source:
                for ref in group:
                    document = read_document(ref, source, self._settings)
                    if isinstance(document, Document):
                        yield document
                    else:
                        self.drop(ref.key, document)
                    number += 1
                    if self._progress is not None:
                        self._progress.advance(number)
        if self._progress is not None:
            self._progress.finish()

    def drop(self, key: str, reason: str) -> None:
        """Count a file that is dropped."""
        self._listing.drop(key, reason)


def read_document(ref: FileRef, source: Source, settings: CorpusSettings) -> Document | DropReason:
    """Return a file as a document, or why it is none.

    Args:
        ref: The file.
        source: The opened place that its content is read from.
        settings: Limits of the gates.
    """
    content = read_content(ref, source, settings)
    return content if isinstance(content, DropReason) else make_document(ref, content, settings)


def read_content(ref: FileRef, source: Source, settings: CorpusSettings) -> bytes | DropReason:
    """Return a file's bytes, or why they are not read.

    Lines of a notebook's file are no lines of its code, so it cannot be cut at some of them.
    """
    if ref.entry.lines is not None and is_notebook(ref.entry.path):
        return DropReason.NOT_SUPPORTED
    try:
        if source.size_bytes(ref.entry) > settings.max_file_bytes:
            return DropReason.TOO_LARGE
        return source.read(ref.entry)
    except MissingObjectError:
        return DropReason.NOT_IN_CLONE
    except OSError:
        return DropReason.UNREADABLE


def make_document(ref: FileRef, content: bytes, settings: CorpusSettings) -> Document | DropReason:
    """Return the document of a file's bytes, or the gate that drops it.

    The answer depends on the bytes, the file's name, the licence of its folder and the settings
    alone, so it can be kept. Secrets are replaced before anything else is made of the text.
    """
    found = read_text(ref.entry.path, content)
    if isinstance(found, DropReason):
        return found
    clean = redact(found.text)
    text = found.text if clean is None else clean.text
    licence = tagged_licence(text) or ref.licence
    reason = plain_reason(text, settings)
    if reason is None and is_denied(licence, settings.denied_licences):
        reason = DropReason.DENIED_LICENCE
    if reason is not None or clean is None:
        return reason or DropReason.SECRET
    places = " ".join(
        f"{item.kind}:{item.start}-{item.end}:{item.num_removed}" for item in clean.redactions
    )
    return Document(
        repo=ref.repo,
        path=ref.entry.path,
        language=found.language,
        text=text,
        content=content_hash(f"{text}\0{places}" if places else text),
        licence=licence,
        redactions=places,
        flags=" ".join(_flags(found, text)),
        encoding=found.encoding,
    )


def _flags(found: Decoded, text: str) -> Iterator[str]:
    if not is_normalized("NFC", text):
        yield "not_nfc"
    if found.had_returns_only:
        yield "cr_line_ends"


def read_texts(
    roots: Sequence[Path], *, settings: CorpusSettings, exclude: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every source file that passes the gates.

    Raises:
        SourceNotFoundError: A root is missing or is a repository that git cannot read.
    """
    reader = DocumentReader(settings, selection=Selection(exclude=tuple(exclude)))
    for document in reader.read(roots):
        yield f"{document.repo}/{document.path}", document.text
