"""Turn roots into documents: listed, gated, decoded, and every dropped file accounted for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING
from unicodedata import is_normalized

from fim.corpus.attributes import read_attributes
from fim.corpus.commits import lines_added_since, open_commits
from fim.corpus.gates import compile_patterns, decode, path_reason, plain_reason
from fim.corpus.hashing import content_hash, stable_hash
from fim.corpus.history import History, last_changes
from fim.corpus.languages import language_of
from fim.corpus.licence import is_denied, read_licences, tagged_licence
from fim.corpus.reasons import DropReason, Tally
from fim.corpus.scan import (
    IGNORE_FILE,
    STANDARD_LIBRARY_EXCLUDE,
    ContentPlace,
    Source,
    SourceEntry,
    existing_folder,
    open_source,
    require_commit,
    stdlib_root,
)
from fim.corpus.secrets import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
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
        licence: SPDX expression, empty where none is known.
        redactions: Each placeholder of a secret, ``kind:start-end:removed``: its kind, where it
            stands and how many characters it stands for.
        flags: ``not_nfc`` where a tokenizer that composes characters changes the text.
    """

    repo: str
    path: str
    language: str
    text: str
    content: str
    licence: str = ""
    redactions: str = ""
    flags: str = ""

    @property
    def redacted_places(self) -> tuple[tuple[int, int], ...]:
        """Where placeholders of secrets stand (characters)."""
        places = (item.split(":")[1].split("-") for item in self.redactions.split())
        return tuple((int(start), int(end)) for start, end in places)

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
    since: str | None = None

    def as_json(self) -> Mapping[str, object]:
        """Return JSON-ready facts, without the machine's own folders."""
        return {
            "name": self.name,
            "kind": self.kind,
            "commit": self.commit,
            "files": self.num_files,
        } | ({"since": self.since} if self.since is not None else {})


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file that passed the gates by path, not read yet, small enough for another process.

    Args:
        repo: Name of the root.
        entry: The file in its root.
        place: Where its content is read.
        licence: SPDX expression of the nearest licence file above it.
    """

    repo: str
    entry: SourceEntry
    place: ContentPlace
    licence: str = ""

    @property
    def key(self) -> str:
        """Name the file by its place."""
        return f"{self.repo}/{self.entry.path}"


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of the roots are read.

    Args:
        include: Patterns in the syntax of ``.gitignore``; none takes every file.
        exclude: Patterns of files that are left out; they win.
        skip: A folder that is never listed, such as the output.
        revision: Commit to read in place of HEAD.
        from_commits: Read the files that the last commits changed; None reads the whole tree.
        since: Mark the lines that were added after this commit; None marks none.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    skip: Path | None = None
    revision: str | None = None
    from_commits: int | None = None
    since: str | None = None


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
        self._selection = selection or Selection()
        self._progress = progress
        self._on_drop = on_drop
        self.tally = Tally()
        self.inputs: list[CorpusInput] = []

    def list(self, roots: Sequence[Path]) -> tuple[FileRef, ...]:
        """Return the files of every root that pass the gates by path, in order of root and path.

        Raises:
            SourceNotFoundError: A root is missing or is a repository that git cannot read.
        """
        found: list[FileRef] = []
        for root, name in zip(roots, root_names(roots), strict=True):
            with self._open(root) as source:
                found += self._list_source(root, name, source)
        return tuple(found)

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
        self.tally.drop(reason)
        if self._on_drop is not None:
            self._on_drop(key, str(reason))

    def _open(self, root: Path) -> Source:
        chosen = self._selection
        if chosen.from_commits is not None:
            return open_commits(
                root,
                chosen.from_commits,
                revision=chosen.revision,
                with_context=self._settings.context_items > 0,
            )
        return open_source(root, skip=chosen.skip, revision=chosen.revision)

    def _list_source(self, root: Path, name: str, source: Source) -> Sequence[FileRef]:
        entries, since = self._with_lines(root, source)
        self.inputs.append(CorpusInput(name, source.kind, source.commit, len(entries), since))
        self.tally.see(len(entries))
        chosen = self._selection
        patterns = (*_built_in_patterns(root), *_ignore_lines(source, entries), *chosen.exclude)
        excluded = compile_patterns(patterns)
        included = compile_patterns(chosen.include) if chosen.include else None
        attributes, licences = read_attributes(source, entries), read_licences(source, entries)
        wanted = []
        for entry in entries:
            reason = path_reason(entry.path, excluded, attributes)
            is_wanted = included is None or included.match_file(entry.path)
            if not is_wanted and reason is not DropReason.BAD_FILE_NAME:
                reason = DropReason.EXCLUDED
            if reason in (DropReason.BAD_FILE_NAME, DropReason.EXCLUDED):
                self.drop(f"{name}/{entry.path}", reason)
            elif entry.reason or reason:
                self.drop(f"{name}/{entry.path}", str(entry.reason or reason))
            else:
                wanted.append(FileRef(name, entry, source.place, licences.of(entry.path)))
        return self._limited(name, wanted)

    def _with_lines(self, root: Path, source: Source) -> tuple[Sequence[SourceEntry], str | None]:
        entries, since = self._with_history(root, source), self._selection.since
        if since is None:
            return entries, None
        folder = existing_folder(root)
        first = require_commit(folder, since)
        added = lines_added_since(folder, first, require_commit(folder, source.commit or "HEAD"))
        marked = [replace(entry, lines=added.get(entry.path)) for entry in entries]
        return marked, first

    def _with_history(self, root: Path, source: Source) -> Sequence[SourceEntry]:
        entries = source.entries()
        is_state = self._selection.from_commits is None and source.commit is not None
        if not is_state or self._settings.context_items == 0:
            return entries
        changes = last_changes(existing_folder(root), str(source.commit))
        return [
            replace(entry, history=History(changes[entry.path])) if entry.path in changes else entry
            for entry in entries
        ]

    def _limited(self, name: str, wanted: Sequence[FileRef]) -> Sequence[FileRef]:
        limit = self._settings.max_files
        if limit is None or len(wanted) <= limit:
            return wanted
        seed = self._settings.seed
        ranked = sorted(wanted, key=lambda ref: stable_hash(seed, "file", name, ref.entry.path))
        for ref in ranked[limit:]:
            self.drop(ref.key, DropReason.OVER_MAX_FILES)
        return sorted(ranked[:limit], key=lambda ref: ref.entry.path)


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
    """Return a file's bytes, or why they are not read."""
    try:
        if source.size_bytes(ref.entry) > settings.max_file_bytes:
            return DropReason.TOO_LARGE
        return source.read(ref.entry)
    except OSError:
        return DropReason.UNREADABLE


def make_document(ref: FileRef, content: bytes, settings: CorpusSettings) -> Document | DropReason:
    """Return the document of a file's bytes, or the gate that drops it.

    The answer depends on the bytes, the file's name, the licence of its folder and the settings
    alone, so it can be kept. Secrets are replaced before anything else is made of the text.
    """
    found = decode(content)
    if isinstance(found, DropReason):
        return found
    language = language_of(ref.entry.path, found)
    if language is None:
        return DropReason.UNKNOWN_LANGUAGE
    clean = redact(found)
    text = found if clean is None else clean.text
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
        language=language.name,
        text=text,
        content=content_hash(f"{text}\0{places}" if places else text),
        licence=licence,
        redactions=places,
        flags="" if is_normalized("NFC", text) else "not_nfc",
    )


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
