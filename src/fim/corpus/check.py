"""Prove again, from a built set alone, that nothing held out stands in the training text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.dedup import near_duplicate_groups
from fim.corpus.manifest import MANIFEST_FILE, read_rows, split_hash
from fim.corpus.splits import HELD_OUT, TRAIN, VerbatimSearch, leak_needle
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    from fim.types import FimExample

_MAX_SHOWN = 10
_SHOWN_CHARS = 80
_DEFAULT_THRESHOLD = 0.7


@dataclass(frozen=True, slots=True)
class CorpusCheck:
    """What a check found.

    Args:
        leaks: Number of findings by kind; every kind is named, most are zero.
        examples: Some of the findings.
    """

    leaks: Mapping[str, int]
    examples: Sequence[Mapping[str, object]]

    @property
    def is_clean(self) -> bool:
        """Tell whether nothing was found."""
        return not any(self.leaks.values())

    def as_json(self) -> dict[str, object]:
        """Return JSON-ready findings."""
        return {
            "ok": self.is_clean,
            "leaks": dict(self.leaks),
            "examples": [dict(example) for example in self.examples],
        }


def check_corpus(folder: Path) -> CorpusCheck:
    """Look for leaks between the sides of a built set, and for rows unlike its manifest's.

    Raises:
        SourceNotFoundError: The folder holds no built set.
    """
    manifest = read_manifest(folder)
    train, held_out = read_rows(folder, TRAIN), read_rows(folder, HELD_OUT)
    findings = {
        "shared_document": _shared_documents(train, held_out),
        "near_duplicate_document": _near_duplicates(train, held_out, _threshold(manifest)),
        "middle_in_training_text": _verbatim(train, held_out),
        "manifest_mismatch": _mismatches(manifest, {TRAIN: train, HELD_OUT: held_out}),
    }
    return CorpusCheck(
        leaks={kind: len(found) for kind, found in findings.items()},
        examples=[
            {"kind": kind, **finding}
            for kind, found in findings.items()
            for finding in found[:_MAX_SHOWN]
        ],
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
            hint=f"fim data build PATH... --out {folder}",
        ) from error
    return dict(manifest)


def _shared_documents(
    train: Sequence[FimExample], held_out: Sequence[FimExample]
) -> list[dict[str, object]]:
    known = {(row.repo, row.path) for row in train} | {row.document_id for row in train}
    found: dict[str, dict[str, object]] = {
        row.document_id: {"repo": row.repo, "path": row.path}
        for row in held_out
        if row.document_id in known or (row.repo, row.path) in known
    }
    return list(found.values())


def _near_duplicates(
    train: Sequence[FimExample], held_out: Sequence[FimExample], threshold: float
) -> list[dict[str, object]]:
    documents = {row.document_id: row for row in (*train, *held_out)}
    rows = list(documents.values())
    groups = near_duplicate_groups([_text(row) for row in rows], threshold)
    on_train = {group: row for group, row in zip(groups, rows, strict=True) if row.split == TRAIN}
    return [
        {"path": row.path, "like": on_train[group].path}
        for group, row in zip(groups, rows, strict=True)
        if row.split == HELD_OUT and group in on_train
    ]


def _verbatim(
    train: Iterable[FimExample], held_out: Sequence[FimExample]
) -> list[dict[str, object]]:
    search = VerbatimSearch(leak_needle(row.middle) for row in held_out)
    for row in {row.document_id: row for row in train}.values():
        search.scan(_text(row))
    return [
        {"path": row.path, "id": row.id, "middle": row.middle[:_SHOWN_CHARS]}
        for row in held_out
        if leak_needle(row.middle) in search.found
    ]


def _mismatches(
    manifest: Mapping[str, object], splits: Mapping[str, Sequence[FimExample]]
) -> list[dict[str, object]]:
    recorded = manifest.get("splits")
    facts = recorded if isinstance(recorded, Mapping) else {}
    return [
        {"split": split}
        for split, rows in splits.items()
        if not isinstance(facts.get(split), Mapping)
        or facts[split].get("sha256") != split_hash(rows)
    ]


def _threshold(manifest: Mapping[str, object]) -> float:
    config = manifest.get("config")
    value = config.get("near_duplicate_threshold") if isinstance(config, Mapping) else None
    return float(value) if isinstance(value, int | float) else _DEFAULT_THRESHOLD


def _text(row: FimExample) -> str:
    return row.prefix + row.middle + row.suffix
