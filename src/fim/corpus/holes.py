"""Turn documents into examples, and thin them: duplicates, leaks and sub-samples, all counted."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fim.corpus.hashing import stable_hash
from fim.corpus.reasons import HoleDropReason, Tally
from fim.corpus.spans import sample_spans
from fim.corpus.splits import VerbatimSearch, leak_needle
from fim.types import FimExample

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fim.config import CorpusSettings
    from fim.corpus.documents import Document
    from fim.corpus.syntax import Grammars

_SEEN_PREFIX_CHARS = 64


def make_examples(
    document: Document, *, split: str, grammars: Grammars, settings: CorpusSettings
) -> tuple[FimExample, ...]:
    """Return a document's holes; prefix, middle and suffix of each join to the document's text."""
    spans = sample_spans(
        document.text,
        grammars.parse(document.text, document.language),
        seed=stable_hash(settings.seed, "holes", document.content),
        max_holes=settings.holes_per_file,
        max_middle_chars=settings.max_middle_chars,
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
        )
        for span in spans
    )


def drop_repeated_holes(examples: Iterable[FimExample], tally: Tally) -> tuple[FimExample, ...]:
    """Return the examples without repeats: same middle, same last 64 characters of prefix."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for example in examples:
        key = (example.prefix[-_SEEN_PREFIX_CHARS:], example.middle)
        if key in seen:
            tally.drop(HoleDropReason.DUPLICATE_HOLE)
        else:
            seen.add(key)
            kept.append(example)
    return tuple(kept)


def drop_leaking_holes(
    held_out: Sequence[FimExample], training_texts: Iterable[str], tally: Tally
) -> tuple[FimExample, ...]:
    """Return the held-out examples without those whose middle stands in a training text."""
    search = VerbatimSearch(leak_needle(example.middle) for example in held_out)
    for text in training_texts:
        search.scan(text)
    kept = tuple(example for example in held_out if leak_needle(example.middle) not in search.found)
    tally.drop(HoleDropReason.MIDDLE_IN_TRAINING_TEXT, len(held_out) - len(kept))
    return kept


def sub_sample(
    examples: Sequence[FimExample], limit: int | None, *, seed: int, tally: Tally
) -> tuple[FimExample, ...]:
    """Return at most ``limit`` examples, chosen by seed and spread over the documents."""
    if limit is None or len(examples) <= limit:
        return tuple(examples)
    by_document: dict[str, list[FimExample]] = defaultdict(list)
    for example in examples:
        by_document[example.document_id].append(example)
    ranked = []
    for holes in by_document.values():
        holes.sort(key=lambda hole: stable_hash(seed, "sample", hole.id))
        ranked += [
            (turn, stable_hash(seed, "sample", hole.id), hole.id) for turn, hole in enumerate(holes)
        ]
    chosen = {identity for _, _, identity in sorted(ranked)[:limit]}
    tally.drop(HoleDropReason.SAMPLED_OUT, len(examples) - len(chosen))
    return tuple(example for example in examples if example.id in chosen)
