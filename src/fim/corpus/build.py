"""Build a data set from repositories: read, deduplicate, split by group, cut holes, write."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from fim.corpus.dedup import near_duplicate_groups
from fim.corpus.documents import Document, DocumentReader
from fim.corpus.hashing import normalised_hash
from fim.corpus.holes import drop_leaking_holes, drop_repeated_holes, make_examples, sub_sample
from fim.corpus.manifest import MANIFEST_VERSION, require_writable, split_hash, write_corpus
from fim.corpus.reasons import DropReason, Tally
from fim.corpus.splits import HELD_OUT, TRAIN, assign_sides
from fim.corpus.syntax import Grammars
from fim.errors import EmptyDatasetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from fim.config import CorpusSettings
    from fim.types import FimExample, Progress


@dataclass(frozen=True, slots=True)
class BuiltCorpus:
    """A data set on disk and its rows.

    Args:
        out: The folder that was written.
        manifest: What went in, what came out and why the rest was dropped.
        train: Rows to train on.
        held_out: Rows to measure on, of other files.
    """

    out: Path
    manifest: Mapping[str, object]
    train: tuple[FimExample, ...]
    held_out: tuple[FimExample, ...]


@dataclass(frozen=True, slots=True)
class SplitDocument:
    """A document with the leader of its near-duplicate group and the side it stands on."""

    document: Document
    group: str
    split: str


def build_corpus(
    roots: Sequence[Path],
    *,
    settings: CorpusSettings,
    out: Path,
    exclude: Sequence[str] = (),
    max_train_holes: int | None = None,
    max_held_out_holes: int | None = None,
    progress: Progress | None = None,
) -> BuiltCorpus:
    """Build and write a fill-in-the-middle data set from folders and git repositories.

    The same inputs, settings and versions give the same bytes. No held-out middle of 40 characters
    or more stands verbatim in the text of a training file, and near-identical files share a side.

    Args:
        roots: Folders, repositories or single files.
        settings: Limits, mixture sizes and seed.
        out: Folder to write; an earlier built set there is replaced.
        exclude: Patterns in the syntax of ``.gitignore``, relative to each root.
        max_train_holes: Keep at most this many training rows, chosen by seed.
        max_held_out_holes: Keep at most this many held-out rows, chosen by seed.
        progress: Told of every stage.

    Raises:
        SourceNotFoundError: A root is missing or is a repository that git cannot read.
        EmptyDatasetError: No file passed the gates, or none gave a hole.
        OutputError: The folder holds something else, or cannot be written.
    """
    require_writable(out)
    reader = DocumentReader(settings, exclude=exclude, skip=out, progress=progress)
    documents = _without_copies(reader.read(roots), reader.tally)
    grammars = Grammars()
    placed, sampled = _cut_holes(
        _place(documents, settings), grammars, settings, reader.tally, progress
    )
    if not placed:
        raise _empty(roots, reader.tally)
    holes = Tally(seen=len(sampled))
    limits = {TRAIN: max_train_holes, HELD_OUT: max_held_out_holes}
    rows = _thin(sampled, placed, settings, limits, holes)
    manifest: dict[str, object] = {
        "manifest_version": MANIFEST_VERSION,
        "inputs": [source.as_json() for source in reader.inputs],
        "config": {
            **_settings_json(settings),
            "exclude": list(exclude),
            "max_train_holes": max_train_holes,
            "max_held_out_holes": max_held_out_holes,
        },
        "versions": _versions(grammars),
        "files": reader.tally.report().as_json(),
        "bytes_used": sum(len(item.document.text.encode("utf-8")) for item in placed),
        "holes": holes.report().as_json(),
        "splits": {split: _facts(split, rows[split], placed) for split in rows},
        "near_duplicates": _near_duplicates(placed),
    }
    write_corpus(out, manifest=manifest, train=rows[TRAIN], held_out=rows[HELD_OUT])
    return BuiltCorpus(out, manifest, rows[TRAIN], rows[HELD_OUT])


def _without_copies(documents: Iterable[Document], tally: Tally) -> tuple[Document, ...]:
    kept: dict[str, Document] = {}
    for document in documents:
        key = normalised_hash(document.text)
        if key in kept:
            tally.drop(DropReason.EXACT_DUPLICATE)
        else:
            kept[key] = document
    return tuple(kept.values())


def _place(documents: Sequence[Document], settings: CorpusSettings) -> tuple[SplitDocument, ...]:
    texts = [document.text for document in documents]
    groups = near_duplicate_groups(texts, settings.near_duplicate_threshold)
    sides = assign_sides(
        [f"{document.repo}/{document.path}" for document in documents],
        groups,
        held_out_fraction=settings.held_out_fraction,
        seed=settings.seed,
    )
    return tuple(
        SplitDocument(document, documents[leader].id, side)
        for document, leader, side in zip(documents, groups, sides, strict=True)
    )


def _cut_holes(
    placed: Sequence[SplitDocument],
    grammars: Grammars,
    settings: CorpusSettings,
    tally: Tally,
    progress: Progress | None,
) -> tuple[tuple[SplitDocument, ...], tuple[FimExample, ...]]:
    used: list[SplitDocument] = []
    examples: list[FimExample] = []
    if progress is not None:
        progress.start("cutting holes", len(placed))
    for number, item in enumerate(placed, start=1):
        made = make_examples(item.document, split=item.split, grammars=grammars, settings=settings)
        if made:
            used.append(item)
            examples += made
        else:
            tally.drop(DropReason.NO_HOLES)
        if progress is not None:
            progress.advance(number, holes=len(examples))
    if progress is not None:
        progress.finish(f"{len(examples)} holes in {len(used)} files")
    return tuple(used), tuple(examples)


def _thin(
    sampled: Sequence[FimExample],
    placed: Sequence[SplitDocument],
    settings: CorpusSettings,
    limits: Mapping[str, int | None],
    tally: Tally,
) -> Mapping[str, tuple[FimExample, ...]]:
    distinct = drop_repeated_holes(sampled, tally)
    sides = {split: tuple(row for row in distinct if row.split == split) for split in limits}
    texts = (item.document.text for item in placed if item.split == TRAIN)
    sides[HELD_OUT] = drop_leaking_holes(sides[HELD_OUT], texts, tally)
    return {
        split: sub_sample(sides[split], limits[split], seed=settings.seed, tally=tally)
        for split in (TRAIN, HELD_OUT)
    }


def _empty(roots: Sequence[Path], tally: Tally) -> EmptyDatasetError:
    counts = ", ".join(f"{number} {reason}" for reason, number in tally.dropped.items())
    names = ", ".join(str(root) for root in roots)
    return EmptyDatasetError(
        f"no hole could be made from {names}: {tally.seen} files seen, "
        f"dropped {counts or 'none'}; a data set needs at least one source file",
        hint="give a folder with source code, or loosen the gate that dropped most "
        "(fim config explain corpus.max_file_bytes)",
        context={"files": tally.report().as_json()},
    )


def _settings_json(settings: CorpusSettings) -> Mapping[str, object]:
    return dict(settings.model_dump(mode="json"))


def _versions(grammars: Grammars) -> Mapping[str, object]:
    return {
        "fim": metadata.version("fim"),
        "pyarrow": metadata.version("pyarrow"),
        "grammars": dict(grammars.versions()),
    }


def _facts(
    split: str, rows: Sequence[FimExample], placed: Sequence[SplitDocument]
) -> Mapping[str, object]:
    return {
        "files": sum(item.split == split for item in placed),
        "documents_with_examples": len({row.document_id for row in rows}),
        "examples": len(rows),
        "languages": dict(sorted(Counter(row.language for row in rows).items())),
        "span_kinds": dict(sorted(Counter(row.span_kind for row in rows).items())),
        "sha256": split_hash(rows),
    }


def _near_duplicates(placed: Sequence[SplitDocument]) -> Sequence[Mapping[str, object]]:
    members: dict[str, list[SplitDocument]] = defaultdict(list)
    for item in placed:
        members[item.group].append(item)
    return [
        {
            "split": group[0].split,
            "files": [f"{item.document.repo}/{item.document.path}" for item in group],
        }
        for group in members.values()
        if len(group) > 1
    ]
