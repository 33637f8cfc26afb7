"""Loading examples from files and from the hub, each row on the side that it names."""

from __future__ import annotations

import logging
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fim.data.collect import ROW_HINT, LoadedExamples, RowGroup, collect, parse
from fim.data.reading import find_oversize, read_rows
from fim.data.rows import ParsedRow, RawRow
from fim.data.sides import HELD_OUT, TRAIN, side_of_name, split_names
from fim.data.sources import SourceFile, find_sources
from fim.errors import (
    EmptyDatasetError,
    InvalidExampleError,
    MissingExtraError,
    SourceNotFoundError,
)

if TYPE_CHECKING:
    from pathlib import Path

    from fim.config import DataSettings
    from fim.types import FimExample

_log = logging.getLogger(__name__)


def load_sides(path: Path, *, settings: DataSettings) -> LoadedExamples:
    """Load a data file or a folder: the training side, which holds what the data hold out.

    The side of a row is what its column ``split`` says (``train`` and ``training`` are trained on,
    any other word is held out), else what the name of its file or folder says. A row without
    either stands on the training side here. Reading stops after ``max_examples`` usable rows of a
    side. The training side may be empty.

    Raises:
        SourceNotFoundError: The data are missing or unreadable.
        EmptyDatasetError: There are no rows, or every row was dropped.
        InvalidExampleError: More context items than ``max_unusable_context_share`` are unusable.
    """
    sources = find_sources(path)
    if sources.left_out:
        _log.warning("%s: not read: %s", path, ", ".join(sources.left_out))
    groups = _groups(sources.files, settings.max_row_bytes)
    paths = tuple(each.path for each in sources.files)
    return collect(groups, settings=settings, source=str(path), paths=paths)


def load_examples(path: Path, *, settings: DataSettings, split: str = TRAIN) -> LoadedExamples:
    """Load one side of a data file or a folder; see :func:`load_sides`.

    Args:
        path: The data.
        settings: How they are read.
        split: ``train`` for what may be trained on, ``held_out`` for what the data hold out.

    Raises:
        SourceNotFoundError: The data are missing or unreadable, or hold nothing out.
        EmptyDatasetError: There are no rows on that side, or every row was dropped.
        InvalidExampleError: More context items than ``max_unusable_context_share`` are unusable.
    """
    loaded = load_sides(path, settings=settings)
    if split == TRAIN:
        require_training(loaded, path)
        return loaded
    held_out = loaded.held_out
    if held_out is None or not held_out.examples:
        raise SourceNotFoundError(
            f"{path} holds no {HELD_OUT} examples: no row and no file names that side",
            hint="give rows a split of test, or put them into a file called test.jsonl",
        )
    return held_out


def require_training(loaded: LoadedExamples, path: Path | None = None) -> None:
    """Refuse data of which every row is held out.

    Raises:
        EmptyDatasetError: There is nothing to train on.
    """
    if loaded.examples:
        return
    named = ", ".join(name for name, side in loaded.files.items() if side == HELD_OUT)
    words = ", ".join(loaded.words)
    why = f"the column split says {words}" if words else f"the name says so: {named}"
    scored = path if path is not None else "PATH"
    raise EmptyDatasetError(
        f"every row of {loaded.source} is held out ({why}), and what is named for evaluation is "
        "never trained on",
        hint="give rows of training; these can be scored: fim eval run --suite own --data "
        f"{shlex.quote(str(scored))} --out eval/own",
        context={"files": dict(loaded.files), "split_words": dict(loaded.words)},
    )


def load_hub_examples(settings: DataSettings, *, token: str | None = None) -> LoadedExamples:
    """Load the hub data set of the settings; streamed when asked or bounded by ``max_examples``.

    Its other splits, those of more training rows aside, are read as what it holds out.

    Raises:
        MissingExtraError: The package ``datasets`` is not installed.
        SourceNotFoundError: The data set cannot be reached.
        EmptyDatasetError: There are no rows, every row was dropped, or the split is one that is
            named for evaluation.
        InvalidExampleError: More context items than ``max_unusable_context_share`` are unusable.
    """
    wanted = settings.dataset_split
    if any(side_of_name(name) == HELD_OUT for name in split_names(wanted)):
        raise EmptyDatasetError(
            f"the split {wanted!r} of {settings.dataset_name} is held out by its name, and what is "
            "named for evaluation is never trained on",
            hint="FIM_DATA_DATASET_SPLIT=train fim train",
        )
    return collect(_hub_groups(settings, token), settings=settings, source=settings.dataset_name)


def load_row(path: Path, index: int, *, settings: DataSettings, split: str = TRAIN) -> FimExample:
    """Load the row with an index (from 0, unusable rows counted too).

    Args:
        path: A data file, whose rows are all counted, or a folder.
        index: Which row.
        settings: How rows are read.
        split: In a folder, the side whose files are counted; files without a side are trained on.

    Returns:
        The example; its ``split`` is its side, empty where neither row nor file names one.

    Raises:
        SourceNotFoundError: The data are missing or unreadable.
        InvalidExampleError: There is no such row, or it is not a usable example.
    """
    files = find_sources(path).files
    if path.is_dir():
        files = tuple(each for each in files if (each.side or TRAIN) == split)
    if not files:
        raise SourceNotFoundError(
            f"{path} holds no {split} examples: no file of it names that side",
            hint=f"fim data stats {shlex.quote(str(path))}",
        )
    num_rows = 0
    for group in _groups(files, settings.max_row_bytes):
        for row in group.rows:
            num_rows = row.number + 1
            if row.number != index:
                continue
            parsed = parse(row)
            if isinstance(parsed, ParsedRow):
                return parsed.example
            raise InvalidExampleError(
                f"{path} {row.location} is not a usable example: {parsed.detail} ({parsed.reason})",
                hint=ROW_HINT,
                context={"index": index, "reason": parsed.reason},
            )
    raise InvalidExampleError(
        f"{path} has no row with index {index}: it holds {num_rows} rows, counted from 0",
        hint=f"choose an index from 0 to {num_rows - 1}" if num_rows else ROW_HINT,
        context={"index": index, "rows": num_rows},
    )


def _groups(files: tuple[SourceFile, ...], max_row_bytes: int) -> Iterator[RowGroup]:
    """Yield the rows of each file, numbered over all files."""
    num_rows = 0

    def numbered(file: SourceFile) -> Iterator[RawRow]:
        nonlocal num_rows
        for row in read_rows(
            file,
            max_row_bytes=max_row_bytes,
            first_number=num_rows,
            is_named=len(files) > 1,
        ):
            num_rows = row.number + 1
            yield row

    for file in files:
        yield RowGroup(file.name, file.side, numbered(file))


def _hub_groups(settings: DataSettings, token: str | None) -> Iterator[RowGroup]:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"reading the hub data set {settings.dataset_name} needs the package datasets",
            hint="pip install 'fim[train]', or give a local file with FIM_DATA_PATH",
        ) from error

    def load(split: str) -> Iterable[Mapping[str, object]]:
        with _told_of_the_hub(settings, datasets.exceptions.DatasetsError):
            found: Iterable[Mapping[str, object]] = datasets.load_dataset(
                settings.dataset_name,
                split=split,
                streaming=settings.streaming or settings.max_examples is not None,
                token=token,
            )
        return found

    def read(rows: Iterable[Mapping[str, object]], side: str) -> Iterator[RawRow]:
        with _told_of_the_hub(settings, datasets.exceptions.DatasetsError):
            for number, fields in enumerate(rows):
                oversize = find_oversize(fields, max_row_bytes=settings.max_row_bytes)
                kept = None if oversize else fields
                place = f"{'held-out ' if side else ''}row {number + 1}"
                yield RawRow(number, place, fields=kept, problem=oversize, side=side)

    def other_splits(info: object) -> Iterable[str]:
        """Return the splits that the set tells of itself, or else those that its files make."""
        told: Iterable[str] | None = getattr(info, "splits", None)
        if info is None or told:
            return told or ()
        with _told_of_the_hub(settings, datasets.exceptions.DatasetsError):
            names: list[str] = datasets.get_dataset_split_names(settings.dataset_name, token=token)
        return names

    wanted = settings.dataset_split
    rows = load(wanted)
    yield RowGroup(wanted, "", read(rows, ""))
    for name in other_splits(getattr(rows, "info", None)):
        if name not in split_names(wanted) and side_of_name(name) != TRAIN:
            yield RowGroup(name, HELD_OUT, read(load(name), HELD_OUT))


@contextmanager
def _told_of_the_hub(settings: DataSettings, failure: type[Exception]) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, failure) as error:
        raise SourceNotFoundError(
            f"the hub data set {settings.dataset_name!r} (split {settings.dataset_split!r}) cannot "
            f"be read: {error}",
            hint="check the name, the network and HF_TOKEN, or give a local parquet or JSONL of "
            "the same columns with FIM_DATA_PATH",
        ) from error
