"""Turn documents into examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.corpus.hashing import stable_hash
from fim.corpus.reasons import DropReason
from fim.corpus.spans import sample_spans
from fim.types import FimExample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.config import CorpusSettings
    from fim.corpus.documents import Document
    from fim.corpus.syntax import Grammars


def make_examples(
    document: Document,
    *,
    split: str,
    grammars: Grammars,
    settings: CorpusSettings,
    lines: Sequence[tuple[int, int]] | None = None,
) -> tuple[FimExample, ...]:
    """Return a document's holes; prefix, middle and suffix of each join to the document's text.

    ``lines`` are first and last of the runs of lines, from 1, that alone may hold holes.
    """
    tree = grammars.parse(document.text, document.language)
    if tree is not None and tree.error_share() > settings.max_parse_error_share:
        return ()
    spans = sample_spans(
        document.text,
        tree,
        seed=stable_hash(settings.seed, "holes", document.content),
        max_holes=settings.holes_per_file,
        max_middle_chars=settings.max_middle_chars,
        lines=lines,
        forbidden=document.redacted_places,
    )
    document_id = document.id
    return tuple(
        FimExample(
            prefix=document.text[: span.start],
            middle=document.text[span.start : span.end],
            suffix=document.text[span.end :],
            language=document.language,
            path=document.path,
            repo=document.repo,
            id=stable_hash(document_id, span.start, span.end),
            document_id=document_id,
            span_kind=span.kind,
            split=split,
            licence=document.licence,
        )
        for span in spans
    )


def why_no_holes(document: Document, grammars: Grammars, settings: CorpusSettings) -> DropReason:
    """Return why a document gave no hole: it cannot be parsed, or nothing in it is worth one."""
    tree = grammars.parse(document.text, document.language)
    is_broken = tree is not None and tree.error_share() > settings.max_parse_error_share
    return DropReason.PARSE_FAILURE if is_broken else DropReason.NO_HOLES
