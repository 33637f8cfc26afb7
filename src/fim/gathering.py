"""Where examples come from: a built set, a data file, the hub, or code built into a set now."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fim.config import EMBEDDED_CORPUS_NAME, DataSettings, Settings
from fim.corpus import BuiltCorpus, build_corpus, stdlib_root
from fim.data import BY_SEED, Division, divide, load_examples, load_hub_examples
from fim.data.sides import HELD_OUT, TRAIN
from fim.logger import get_logger
from fim.training.processes import is_main, wait_for_all

if TYPE_CHECKING:
    from fim.types import FimExample, Progress

EMBEDDED_CORPUS_SOURCE = "the Python standard library of the running interpreter"
EMBEDDED_CORPUS_LICENCE = "PSF-2.0"
MAX_EMBEDDED_TRAIN_HOLES = 4000
_MOST_NAMED = 6

_log = get_logger("gathering")


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples to train on and to measure on, with the record of where they came from.

    ``manifest`` is what a run keeps as ``data_manifest.json``.
    """

    train: tuple[FimExample, ...]
    held_out: tuple[FimExample, ...]
    manifest: Mapping[str, object]


def gather_examples(settings: Settings, *, folder: Path, progress: Progress | None) -> Examples:
    """Return the examples that the settings name.

    Args:
        settings: ``data`` says which; ``corpus`` and ``eval`` shape a set that is built now.
        folder: Where a set that is built now is written.
        progress: Told of every stage.

    Raises:
        SourceNotFoundError: The data are missing or unreadable.
        EmptyDatasetError: No usable example.
        InvalidExampleError: Too much of the context is unusable.
        OutputError: The set cannot be written.
    """
    data = settings.data
    if data.path is not None:
        return _from_files(data.path, data)
    if data.dataset_name == EMBEDDED_CORPUS_NAME:
        return _build_embedded(settings, folder, progress)
    token = settings.hf.token.get_secret_value() if settings.hf.token is not None else None
    return _of(divide(load_hub_examples(data, token=token), settings=data), data)


def _build_embedded(settings: Settings, folder: Path, progress: Progress | None) -> Examples:
    """Build the embedded corpus; of several processes the main one builds and the others read."""
    if not is_main():
        wait_for_all()
        return _from_files(folder, settings.data)
    roots, source = (stdlib_root(),), EMBEDDED_CORPUS_SOURCE
    built = build_examples(roots, settings, out=folder, source=source, progress=progress)
    wait_for_all()
    return built


def build_examples(
    roots: Sequence[Path],
    settings: Settings,
    *,
    out: Path,
    source: str,
    progress: Progress | None,
) -> Examples:
    """Build a set from code and return its examples.

    Raises:
        SourceNotFoundError: A root is missing.
        EmptyDatasetError: No file gave a hole.
        OutputError: The set cannot be written.
    """
    built = build_corpus(
        roots,
        settings=settings.corpus,
        out=out,
        max_train_holes=settings.data.max_examples or MAX_EMBEDDED_TRAIN_HOLES,
        max_held_out_holes=settings.eval.num_holes,
        progress=progress,
    )
    manifest = _built_manifest(built, source)
    if source == EMBEDDED_CORPUS_SOURCE:
        manifest["licences"] = {source: EMBEDDED_CORPUS_LICENCE}
    return Examples(built.train, built.held_out, manifest)


def _from_files(path: Path, data: DataSettings) -> Examples:
    return _of(divide(load_examples(path, settings=data), settings=data), data)


def _of(division: Division, data: DataSettings) -> Examples:
    _tell(division, data)
    return Examples(division.train.examples, division.held_out.examples, _manifest(division))


def _tell(division: Division, data: DataSettings) -> None:
    """Say how many rows stand on which side, and why."""
    source, counts = division.train.source, division.counts()
    if not counts[HELD_OUT]:
        _log.warning("%s: nothing is held out, so there will be no held-out figure", source)
        return
    why = division.rule
    if division.rule == BY_SEED:
        why = f"data.held_out_fraction={data.held_out_fraction}, drawn {why}"
    named = [
        *(f"split {word} {count}" for word, count in division.train.words.items()),
        *(
            f"{name} {side.replace('_', ' ')}"
            for name, side in division.train.files.items()
            if side
        ),
    ]
    shown = ", ".join([*named[:_MOST_NAMED], *(["…"] if len(named) > _MOST_NAMED else [])])
    _log.info(
        "%s: %d rows to train on, %d held out %s%s",
        source,
        counts[TRAIN],
        counts[HELD_OUT],
        why,
        f" ({shown})" if shown else "",
    )


def _manifest(division: Division) -> dict[str, object]:
    sides = {TRAIN: division.train, HELD_OUT: division.held_out}
    dropped: Counter[str] = Counter()
    remarks: Counter[str] = Counter()
    for side in sides.values():
        dropped.update(side.report.dropped)
        dropped.update(side.context_report.dropped)
        remarks.update(side.remarks)
    return {
        "source": division.train.source,
        "examples": division.counts(),
        "dropped": dict(dropped),
        "remarks": dict(remarks),
        "sides": division.as_json(),
        "hashes": {name: _hash_examples(side.examples) for name, side in sides.items()},
    }


def _built_manifest(built: BuiltCorpus, source: str) -> dict[str, object]:
    manifest = built.manifest
    splits = manifest["splits"]
    holes = manifest["holes"]
    return {
        "source": source,
        "files": manifest["files"],
        "examples": {"train": len(built.train), "held_out": len(built.held_out)},
        "languages": sorted({example.language for example in built.train}),
        "dropped": holes["dropped"] if isinstance(holes, Mapping) else {},
        "hashes": {name: facts["sha256"] for name, facts in splits.items()}
        if isinstance(splits, Mapping)
        else {},
    }


def _hash_examples(examples: Sequence[FimExample]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for example in examples:
        for part in (example.prefix, example.middle, example.suffix, example.language):
            raw = part.encode("utf-8", errors="surrogatepass")
            digest.update(struct.pack("<q", len(raw)) + raw)
    return digest.hexdigest()
