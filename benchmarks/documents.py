"""Holes of real code: stretches of standard-library files with several holes each."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from fim.config import Settings, load_settings
from fim.corpus import stdlib_root
from fim.corpus.spans import sample_spans
from fim.corpus.syntax import Grammars
from fim.data import ExampleEncoder, TokenizerView
from fim.pipeline import make_encoder, make_loader
from fim.types import EncodedExample, FimExample

SEED = 3407
NUM_HELD_OUT_DOCUMENTS = 6
NUM_DRAWS = 12
LEAST_PREFIX_SHARE = 0.5
MIDDLE_RESERVE_TOKENS = 96


@dataclass(frozen=True)
class Workload:
    """The holes that every contestant trains on, and held-out ones.

    Args:
        settings: Of the model, with the length of rows.
        encoder: Makes rows.
        rows: Training rows, document by document.
        held_out: Rows of other files.
        holes_per_document: Holes of a document.
        max_tokens: Tokens of a row at most.
        suffix_tokens: Tokens of a suffix at most.
    """

    settings: Settings
    encoder: ExampleEncoder
    rows: tuple[EncodedExample, ...]
    held_out: tuple[EncodedExample, ...]
    holes_per_document: int
    max_tokens: int
    suffix_tokens: int

    @property
    def num_row_tokens(self) -> int:
        """Tokens of all training rows."""
        return sum(len(row.input_ids) for row in self.rows)

    def with_fewer_holes(self, holes_per_document: int) -> Workload:
        """Return the same documents with the first of their holes."""
        whole = self.holes_per_document
        starts = range(0, len(self.rows), whole)
        kept = min(holes_per_document, whole)
        rows = tuple(row for start in starts for row in self.rows[start : start + kept])
        return replace(self, rows=rows, holes_per_document=kept)

    def facts(self) -> dict[str, object]:
        """Return what is in it."""
        return {
            "source": "stretches of files of the Python standard library",
            "model": self.settings.model.name,
            "format": self.encoder.resolved.format.name,
            "anchor_lines": self.encoder.resolved.format.anchor_lines,
            "documents": len({row.example.document_id for row in self.rows}),
            "holes": len(self.rows),
            "row_tokens": self.num_row_tokens,
            "longest_row": max(len(row.input_ids) for row in self.rows),
            "suffix_tokens": self.suffix_tokens,
            "least_prefix_share": LEAST_PREFIX_SHARE,
            "held_out_holes": len(self.held_out),
        }


def build_workload(
    *, holes_per_document: int, max_tokens: int, suffix_tokens: int, num_documents: int
) -> Workload:
    """Return rows of stretches that fill a row: holes lie in the second half of their prefix room.

    The stretches stand for the middle of a file: what lies before and after them is out of reach of
    a row. The same rows go to every contestant.
    """
    settings = load_settings(
        preset="cpu",
        overrides={
            "model.max_seq_length": max_tokens,
            "data.middle_reserve_tokens": min(MIDDLE_RESERVE_TOKENS, max_tokens // 4),
        },
    ).settings
    view = TokenizerView(make_loader(settings).tokenizer())
    encoder = make_encoder(settings, view, is_training=True)
    wanted = num_documents + NUM_HELD_OUT_DOCUMENTS
    documents: list[list[EncodedExample]] = []
    files = sorted(stdlib_root().glob("*.py"))
    random.Random(SEED).shuffle(files)
    room = max_tokens - settings.data.middle_reserve_tokens - suffix_tokens - 8
    for path in files:
        rows = _document(path.name, path.read_text("utf-8"), encoder, room, suffix_tokens)
        rows = rows[:holes_per_document]
        if len(rows) == holes_per_document:
            documents.append(rows)
        if len(documents) == wanted:
            break
    return Workload(
        settings=settings,
        encoder=encoder,
        rows=tuple(row for rows in documents[:num_documents] for row in rows),
        held_out=tuple(row for rows in documents[num_documents:] for row in rows[:2]),
        holes_per_document=holes_per_document,
        max_tokens=max_tokens,
        suffix_tokens=suffix_tokens,
    )


def _document(
    name: str, text: str, encoder: ExampleEncoder, room: int, suffix_tokens: int
) -> list[EncodedExample]:
    """Return the rows of one stretch of a file, in a random order."""
    view = encoder.tokenizer
    middle = text.find("\n", len(text) // 3) + 1
    size = room + suffix_tokens + MIDDLE_RESERVE_TOKENS
    ids = view.encode(text[middle : middle + 8 * size])
    if len(ids) < size:
        return []
    first = middle + len(view.decode(ids[: int(room * LEAST_PREFIX_SHARE)]))
    last = middle + len(view.decode(ids[:room]))
    lines = (text.count("\n", 0, first) + 2, text.count("\n", 0, last))
    tree = Grammars().parse(text, "Python")
    found = {
        (span.start, span.end)
        for seed in range(NUM_DRAWS)
        for span in sample_spans(
            text,
            tree,
            seed=f"{SEED}:{name}:{seed}",
            max_holes=64,
            max_middle_chars=200,
            lines=[lines],
        )
    }
    rows = []
    for start, end in sorted(found):
        suffix = view.decode(view.encode(text[end : end + 8 * suffix_tokens])[:suffix_tokens])
        example = FimExample(
            prefix=text[middle:start],
            middle=text[start:end],
            suffix=suffix[: suffix.rfind("\n") + 1] or suffix,
            language="Python",
            id=f"{name}:{start}",
            document_id=name,
        )
        row = encoder.try_encode(example)
        if not isinstance(row, str) and not row.cut.prefix_tokens and not row.cut.suffix_tokens:
            rows.append(row)
    random.Random(f"{SEED}:{name}").shuffle(rows)
    return rows
