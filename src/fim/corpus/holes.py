"""Cut the holes of documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.corpus.hashing import stable_hash
from fim.corpus.spans import sample_spans

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.config import CorpusSettings
    from fim.corpus.documents import Document
    from fim.corpus.spans import Span
    from fim.corpus.syntax import SyntaxTree


def cut_spans(
    document: Document,
    tree: SyntaxTree | None,
    settings: CorpusSettings,
    *,
    lines: Sequence[tuple[int, int]] | None = None,
) -> Sequence[Span]:
    """Return a document's holes in order.

    Args:
        document: The document.
        tree: Its syntax; None where its language has no grammar.
        settings: Sizes, number of holes and seed.
        lines: First and last of the runs of lines, from 1, that alone may hold holes.
    """
    return sample_spans(
        document.text,
        tree,
        seed=stable_hash(settings.seed, "holes", document.content),
        max_holes=settings.holes_per_file,
        max_middle_chars=settings.max_middle_chars,
        lines=lines,
        forbidden=document.redacted_places,
    )
