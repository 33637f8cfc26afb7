"""What is done to one document at a time: read and gate it, and cut its holes; kept by content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fim.corpus.cache import DocumentCache
from fim.corpus.decoding import read_text
from fim.corpus.dedup import shingles, signature
from fim.corpus.documents import Document, make_document, read_content
from fim.corpus.hashing import normalised_hash, stable_hash
from fim.corpus.holes import cut_spans
from fim.corpus.imports import Import, imports_in
from fim.corpus.listing import FileRef
from fim.corpus.reasons import DropReason
from fim.corpus.spans import Span
from fim.corpus.splits import HELD_OUT
from fim.corpus.spool import Spool, SpoolPlace, StoredDocument
from fim.corpus.symbols import Definition, definitions_in
from fim.corpus.syntax import Grammars

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.config import CorpusSettings
    from fim.corpus.sources import ContentPlace, Source

SEEN_PREFIX_CHARS = 64
_PLAIN_FIELDS = tuple(
    field.name for field in fields(Document) if field.name not in {"repo", "path", "text"}
)


@dataclass(frozen=True, slots=True)
class Studied:
    """What is known of a file that was read.

    Args:
        reason: The gate that drops it; None where it passed.
        stored: The document, its text in the spool.
        normalised: Hash of the text whose runs of white space count as one.
        signature: MinHash signature as bytes.
        is_known: The cache knew the content.
    """

    reason: DropReason | None = None
    stored: StoredDocument | None = None
    normalised: str = ""
    signature: bytes = b""
    is_known: bool = False


@dataclass(frozen=True, slots=True)
class StudyJob:
    """Read files, gate them, and keep their texts in a spool.

    Args:
        settings: Limits of the gates.
        spool: Folder of the spool.
        cache: File of the cache; None remembers nothing.
    """

    settings: CorpusSettings
    spool: Path
    cache: Path | None

    def open(self) -> StudyWorker:
        """Return the worker of a process."""
        return StudyWorker(self)


class StudyWorker:
    """Reads, gates and spools files."""

    def __init__(self, job: StudyJob) -> None:
        self._settings = job.settings
        self._spool = Spool(job.spool)
        self._cache = DocumentCache(job.cache)
        self._sources: dict[ContentPlace, Source] = {}
        self._new: dict[tuple[str, str], object] = {}

    def work(self, items: Sequence[FileRef]) -> Sequence[Studied]:
        """Return what is known of each file; what was found out is kept at the end."""
        self._new = {}
        found = [self._study(ref) for ref in items]
        self._cache.put(self._new)
        return found

    def close(self) -> None:
        """Close the files and end the git processes."""
        for source in self._sources.values():
            source.__exit__(None, None, None)
        self._spool.close()
        self._cache.close()

    def _study(self, ref: FileRef) -> Studied:
        if ref.place not in self._sources:
            self._sources[ref.place] = ref.place.open()
        content = read_content(ref, self._sources[ref.place], self._settings)
        if isinstance(content, DropReason):
            return Studied(reason=content)
        facts = f"{ref.entry.path.rpartition('/')[2]}\0{ref.licence}"
        name = facts.encode("utf-8", "surrogatepass")
        key = hashlib.blake2b(content, key=hashlib.sha256(name).digest(), digest_size=16)
        known = self._known(ref, content, key.hexdigest())
        return known or self._fresh(ref, content, key.hexdigest())

    def _known(self, ref: FileRef, content: bytes, key: str) -> Studied | None:
        facts = self._cache.get("file", key)
        if not isinstance(facts, dict):
            return None
        if "reason" in facts:
            return Studied(reason=DropReason(facts["reason"]), is_known=True)
        found = read_text(ref.entry.path, content)
        if isinstance(found, DropReason):
            return None
        place = {"repo": ref.repo, "path": ref.entry.path, "text": found.text}
        document = Document(**place, **facts["document"])
        return self._passed(
            ref,
            document,
            normalised=facts["normalised"],
            sketch=bytes.fromhex(facts["signature"]),
            is_known=True,
        )

    def _fresh(self, ref: FileRef, content: bytes, key: str) -> Studied:
        document = make_document(ref, content, self._settings)
        if isinstance(document, DropReason):
            self._new["file", key] = {"reason": str(document)}
            return Studied(reason=document)
        normalised = normalised_hash(document.text)
        sketch = signature(shingles(document.text)).tobytes()
        facts = plain_facts(document)
        found = read_text(ref.entry.path, content)
        is_unchanged = not isinstance(found, DropReason) and document.text == found.text
        if facts is not None and is_unchanged:
            self._new["file", key] = {
                "document": facts,
                "normalised": normalised,
                "signature": sketch.hex(),
            }
        return self._passed(ref, document, normalised=normalised, sketch=sketch, is_known=False)

    def _passed(
        self, ref: FileRef, document: Document, *, normalised: str, sketch: bytes, is_known: bool
    ) -> Studied:
        entry = ref.entry
        stored = self._spool.add(
            document, lines=entry.lines, family=entry.family, history=entry.history
        )
        return Studied(stored=stored, normalised=normalised, signature=sketch, is_known=is_known)


def plain_facts(document: Document) -> Mapping[str, object] | None:
    """Return a document's facts besides place and text, None where one is no plain value."""
    facts = {name: getattr(document, name) for name in _PLAIN_FIELDS}
    is_plain = all(isinstance(value, str | int | float | None) for value in facts.values())
    return facts if is_plain else None


@dataclass(frozen=True, slots=True)
class Placed:
    """A document and the side it stands on.

    Args:
        stored: The document.
        group: Id of the first document of its group of near-duplicates.
        split: ``train`` or ``held_out``.
    """

    stored: StoredDocument
    group: str
    split: str


@dataclass(frozen=True, slots=True)
class CutHoles:
    """The holes of one document.

    Args:
        spans: The holes in order.
        middles: The text in each, of held-out documents alone.
        repeats: For each hole a hash that equal holes of other documents share.
        is_known: The cache knew the content.
        is_in_part: The grammar understood the document in part.
        reason: Why there is no hole; None where there is one.
        imports: What the document imports, where context is wanted.
        facts: Where its definitions lie in the spool, where context is wanted.
    """

    spans: tuple[Span, ...]
    middles: tuple[str, ...]
    repeats: tuple[bytes, ...]
    is_known: bool = False
    is_in_part: bool = False
    reason: DropReason | None = None
    imports: tuple[Import, ...] = ()
    facts: SpoolPlace | None = None


@dataclass(frozen=True, slots=True)
class CutJob:
    """Cut the holes of documents.

    Args:
        settings: Sizes, weights and seed.
        spool: Folder of the spool.
        cache: File of the cache; None remembers nothing.
    """

    settings: CorpusSettings
    spool: Path
    cache: Path | None

    def open(self) -> CutWorker:
        """Return the worker of a process."""
        return CutWorker(self)


class CutWorker:
    """Cuts the holes of documents."""

    def __init__(self, job: CutJob) -> None:
        self._settings = job.settings
        self._spool = Spool(job.spool)
        self._cache = DocumentCache(job.cache)
        self._grammars = Grammars()
        self._new: dict[tuple[str, str], object] = {}

    def work(self, items: Sequence[Placed]) -> Sequence[CutHoles]:
        """Return the holes of each document; what was found out is kept at the end."""
        self._new = {}
        found = [self._cut(placed) for placed in items]
        self._cache.put(self._new)
        return found

    def close(self) -> None:
        """Close the files."""
        self._spool.close()
        self._cache.close()

    def _cut(self, placed: Placed) -> CutHoles:
        document = self._spool.load(placed.stored)
        lines = placed.stored.lines
        with_context = self._settings.context_items > 0
        key = stable_hash(document.content, document.language, json.dumps(lines), with_context)
        known = self._cache.get("holes", key) if plain_facts(document) is not None else None
        if not isinstance(known, dict):
            known = analyse(document, self._grammars, self._settings, lines=lines)
            self._new["holes", key] = known
            is_known = False
        else:
            is_known = True
        spans = tuple(Span(start, end, kind) for start, end, kind in known["spans"])
        middles = tuple(document.text[span.start : span.end] for span in spans)
        facts = json.dumps(known["definitions"], separators=(",", ":")).encode()
        return CutHoles(
            spans=spans,
            middles=middles if placed.split == HELD_OUT else (),
            repeats=tuple(_repeat_key(document.text, span) for span in spans),
            is_known=is_known,
            is_in_part=known["is_in_part"],
            reason=None if spans else DropReason(known["reason"]),
            imports=tuple(
                Import(tuple(parts), level, start) for parts, level, start in known["imports"]
            ),
            facts=self._spool.keep(facts) if with_context else None,
        )


def analyse(
    document: Document,
    grammars: Grammars,
    settings: CorpusSettings,
    *,
    lines: tuple[tuple[int, int], ...] | None = None,
) -> dict[str, Any]:
    """Return the holes of a document, what it defines and what it imports, as plain values.

    The answer depends on its content and the settings alone. Where the grammar fails on too much of
    the text, syntax comes from what it understands alone, else holes are cut by lines.
    """
    tree = grammars.parse(document.text, document.language)
    is_in_part = tree is not None and tree.error_share() > settings.max_parse_error_share
    if is_in_part:
        tree = grammars.parse_around_errors(document.text, document.language)
    spans = cut_spans(document, tree, settings, lines=lines)
    with_context = settings.context_items > 0
    definitions = definitions_in(tree, document.language, grammars) if with_context else ()
    imports = imports_in(document.text, document.language) if with_context else ()
    return {
        "spans": [[span.start, span.end, span.kind] for span in spans],
        "reason": str(DropReason.CONTEXT_ONLY if lines == () else DropReason.NO_HOLES),
        "is_in_part": is_in_part,
        "definitions": [[item.name, item.start, item.end] for item in definitions],
        "imports": [[list(item.parts), item.level, item.start] for item in imports],
    }


def read_definitions(spool: Spool, place: SpoolPlace) -> tuple[Definition, ...]:
    """Return the definitions that were kept at a place."""
    return tuple(Definition(*item) for item in json.loads(spool.read(place)))


def _repeat_key(text: str, span: Span) -> bytes:
    before = text[max(0, span.start - SEEN_PREFIX_CHARS) : span.start]
    return bytes.fromhex(stable_hash(before, text[span.start : span.end]))
