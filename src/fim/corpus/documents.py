"""Turn roots into documents: listed, gated, decoded, and every dropped file accounted for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.gates import compile_patterns, decode, path_reason, text_reason
from fim.corpus.hashing import content_hash, stable_hash
from fim.corpus.languages import language_of
from fim.corpus.reasons import DropReason, Tally
from fim.corpus.scan import (
    IGNORE_FILE,
    STANDARD_LIBRARY_EXCLUDE,
    Source,
    SourceEntry,
    open_source,
    stdlib_root,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from fim.config import CorpusSettings
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
    """

    repo: str
    path: str
    language: str
    text: str
    content: str

    @property
    def id(self) -> str:
        """Identify this content at this place."""
        return stable_hash(self.repo, self.path, self.content)


@dataclass(frozen=True, slots=True)
class CorpusInput:
    """What was read: a root's name, its kind and its commit."""

    name: str
    kind: str
    commit: str | None
    num_files: int

    def as_json(self) -> Mapping[str, object]:
        """Return JSON-ready facts, without the machine's own folders."""
        return {
            "name": self.name,
            "kind": self.kind,
            "commit": self.commit,
            "files": self.num_files,
        }


class DocumentReader:
    """Reads roots in order and counts what it saw and dropped.

    Args:
        settings: Limits of the gates.
        exclude: Patterns in the syntax of ``.gitignore``, relative to each root.
        skip: A folder that is never listed, such as the output.
        progress: Told of every file listed.
    """

    def __init__(
        self,
        settings: CorpusSettings,
        *,
        exclude: Sequence[str] = (),
        skip: Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._settings = settings
        self._exclude = tuple(exclude)
        self._skip = skip
        self._progress = progress
        self.tally = Tally()
        self.inputs: list[CorpusInput] = []

    def read(self, roots: Sequence[Path]) -> Iterator[Document]:
        """Yield the documents of every root, in order of root and path.

        Raises:
            SourceNotFoundError: A root is missing or is a repository that git cannot read.
        """
        names = root_names(roots)
        for root, name in zip(roots, names, strict=True):
            with open_source(root, skip=self._skip) as source:
                yield from self._read_source(root, name, source)

    def _read_source(self, root: Path, name: str, source: Source) -> Iterator[Document]:
        entries = source.entries()
        self.inputs.append(CorpusInput(name, source.kind, source.commit, len(entries)))
        self.tally.see(len(entries))
        patterns = (*_built_in_patterns(root), *_ignore_lines(source, entries), *self._exclude)
        excluded = compile_patterns(patterns)
        wanted = []
        for entry in entries:
            reason = path_reason(entry.path, excluded)
            if reason in (DropReason.BAD_FILE_NAME, DropReason.EXCLUDED):
                self.tally.drop(reason)
            elif entry.reason or reason:
                self.tally.drop(str(entry.reason or reason))
            else:
                wanted.append(entry)
        yield from self._read_entries(name, source, self._limited(name, wanted))

    def _limited(self, name: str, wanted: Sequence[SourceEntry]) -> Sequence[SourceEntry]:
        limit = self._settings.max_files
        if limit is None or len(wanted) <= limit:
            return wanted
        seed = self._settings.seed
        ranked = sorted(wanted, key=lambda entry: stable_hash(seed, "file", name, entry.path))
        self.tally.drop(DropReason.OVER_MAX_FILES, len(wanted) - limit)
        return sorted(ranked[:limit], key=lambda entry: entry.path)

    def _read_entries(
        self, name: str, source: Source, entries: Sequence[SourceEntry]
    ) -> Iterator[Document]:
        if self._progress is not None:
            self._progress.start(f"reading {name}", len(entries))
        for number, entry in enumerate(entries, start=1):
            document = self._document(name, source, entry)
            if isinstance(document, Document):
                yield document
            else:
                self.tally.drop(document)
            if self._progress is not None:
                self._progress.advance(number)
        if self._progress is not None:
            self._progress.finish()

    def _document(self, name: str, source: Source, entry: SourceEntry) -> Document | DropReason:
        try:
            if source.size_bytes(entry) > self._settings.max_file_bytes:
                return DropReason.TOO_LARGE
            content = source.read(entry)
        except OSError:
            return DropReason.UNREADABLE
        text = decode(content)
        if isinstance(text, DropReason):
            return text
        reason = text_reason(text, self._settings)
        language = language_of(entry.path)
        if reason is not None or language is None:
            return reason or DropReason.UNKNOWN_LANGUAGE
        return Document(name, entry.path, language.name, text, content_hash(text))


def read_texts(
    roots: Sequence[Path], *, settings: CorpusSettings, exclude: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Yield the path and the text of every source file that passes the gates.

    Raises:
        SourceNotFoundError: A root is missing or is a repository that git cannot read.
    """
    for document in DocumentReader(settings, exclude=exclude).read(roots):
        yield f"{document.repo}/{document.path}", document.text


def root_names(roots: Sequence[Path]) -> tuple[str, ...]:
    """Return a name for each root: its folder's name, numbered where two are alike."""
    names: list[str] = []
    for root in roots:
        resolved = root.expanduser().resolve()
        folder = resolved.parent if resolved.is_file() else resolved
        name = folder.name.removesuffix(".git").encode("utf-8", "replace").decode() or "root"
        number = 2
        unique = name
        while unique in names:
            unique = f"{name}-{number}"
            number += 1
        names.append(unique)
    return tuple(names)


def _built_in_patterns(root: Path) -> tuple[str, ...]:
    is_stdlib = root.expanduser().resolve() == stdlib_root()
    return STANDARD_LIBRARY_EXCLUDE if is_stdlib else ()


def _ignore_lines(source: Source, entries: Sequence[SourceEntry]) -> tuple[str, ...]:
    for entry in entries:
        if entry.path == IGNORE_FILE and entry.reason is None:
            try:
                return tuple(source.read(entry).decode("utf-8", "replace").splitlines())
            except OSError:
                return ()
    return ()
