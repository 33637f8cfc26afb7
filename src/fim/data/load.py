"""Loading examples: every row is used or counted under a reason."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fim.data.rows import ParsedRow, RawRow, RowProblem, parse_row
from fim.data.sources import find_oversize, read_rows, source_files
from fim.errors import (
    EmptyDatasetError,
    InvalidExampleError,
    MissingExtraError,
    SourceNotFoundError,
)
from fim.types import DropReport, FimExample

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fim.config import DataSettings

CONTEXT_UNUSABLE = "context_unusable"
CONTEXT_HOLDS_MIDDLE = "context_holds_middle"
_PROBLEMS_KEPT_PER_REASON = 3
_ROW_HINT = "every row needs the text fields prefix, middle and suffix"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedExamples:
    """Examples in the order of their source, and what was dropped on the way.

    ``report`` counts rows, ``context_report`` counts context items, ``problems`` holds the first
    rows dropped under each reason.
    """

    examples: tuple[FimExample, ...]
    report: DropReport
    context_report: DropReport = field(default_factory=DropReport)
    problems: tuple[RowProblem, ...] = ()
    source: str = ""


def load_examples(path: Path, *, settings: DataSettings, split: str = "train") -> LoadedExamples:
    """Load a JSONL, a parquet file, a folder of them, or one split of a built set.

    Reading stops after ``max_examples`` usable rows.

    Raises:
        SourceNotFoundError: The data are missing or unreadable.
        EmptyDatasetError: There are no rows, or every row was dropped.
        InvalidExampleError: More context items than ``max_unusable_context_share`` are unusable.
    """
    files = source_files(path, split=split)
    rows = read_rows(files, max_row_bytes=settings.max_row_bytes)
    return _collect(rows, settings=settings, source=str(path))


def load_hub_examples(settings: DataSettings, *, token: str | None = None) -> LoadedExamples:
    """Load the hub data set of the settings; streamed when asked or bounded by ``max_examples``.

    Raises:
        MissingExtraError: The package ``datasets`` is not installed.
        SourceNotFoundError: The data set cannot be reached.
        EmptyDatasetError: There are no rows, or every row was dropped.
        InvalidExampleError: More context items than ``max_unusable_context_share`` are unusable.
    """
    rows = _hub_rows(settings, token)
    return _collect(rows, settings=settings, source=settings.dataset_name)


def load_row(path: Path, index: int, *, settings: DataSettings, split: str = "train") -> FimExample:
    """Load the row with an index (from 0, unusable rows counted too).

    Raises:
        SourceNotFoundError: The data are missing or unreadable.
        InvalidExampleError: There is no such row, or it is not a usable example.
    """
    files = source_files(path, split=split)
    num_rows = 0
    for row in read_rows(files, max_row_bytes=settings.max_row_bytes):
        num_rows = row.number + 1
        if row.number != index:
            continue
        parsed = _parse(row)
        if isinstance(parsed, ParsedRow):
            return parsed.example
        raise InvalidExampleError(
            f"{path} {row.location} is not a usable example: {parsed.detail} ({parsed.reason})",
            hint=_ROW_HINT,
            context={"index": index, "reason": parsed.reason},
        )
    raise InvalidExampleError(
        f"{path} has no row with index {index}: it holds {num_rows} rows, counted from 0",
        hint=f"choose an index from 0 to {num_rows - 1}" if num_rows else _ROW_HINT,
        context={"index": index, "rows": num_rows},
    )


def _parse(row: RawRow) -> ParsedRow | RowProblem:
    if row.fields is None:
        return row.problem or RowProblem("wrong_type", "the row is empty")
    return parse_row(row.fields, default_id=f"row-{row.number}")


def _collect(rows: Iterable[RawRow], *, settings: DataSettings, source: str) -> LoadedExamples:
    examples: list[FimExample] = []
    dropped: Counter[str] = Counter()
    context: Counter[str] = Counter()
    problems: list[RowProblem] = []
    num_seen = 0
    for row in rows:
        num_seen += 1
        parsed = _parse(row)
        if isinstance(parsed, RowProblem):
            dropped[parsed.reason] += 1
            if dropped[parsed.reason] <= _PROBLEMS_KEPT_PER_REASON:
                problems.append(RowProblem(parsed.reason, parsed.detail, row.location))
            continue
        examples.append(parsed.example)
        context["seen"] += parsed.context.num_seen
        context[CONTEXT_UNUSABLE] += parsed.context.num_unusable
        context[CONTEXT_HOLDS_MIDDLE] += parsed.context.num_holding_middle
        if len(examples) == settings.max_examples:
            break
    loaded = LoadedExamples(
        examples=tuple(examples),
        report=DropReport(num_seen, len(examples), dict(dropped)),
        context_report=_context_report(context),
        problems=tuple(problems),
        source=source,
    )
    _require_examples(loaded)
    _require_context(loaded, settings.max_unusable_context_share)
    _warn_about_drops(loaded)
    return loaded


def _context_report(counts: Counter[str]) -> DropReport:
    reasons = (CONTEXT_UNUSABLE, CONTEXT_HOLDS_MIDDLE)
    dropped = {reason: counts[reason] for reason in reasons if counts[reason]}
    return DropReport(counts["seen"], counts["seen"] - sum(dropped.values()), dropped)


def _require_examples(loaded: LoadedExamples) -> None:
    if loaded.examples:
        return
    if not loaded.report.seen:
        raise EmptyDatasetError(
            f"{loaded.source} holds no rows, so there is nothing to train or test on",
            hint="check the file, or build examples: fim data build PATH --out DIR",
        )
    raise EmptyDatasetError(
        f"none of the {loaded.report.seen} rows of {loaded.source} can be used: "
        f"{describe_problems(loaded)}",
        hint=_ROW_HINT,
        context=loaded.report.as_json(),
    )


def _require_context(loaded: LoadedExamples, max_share: float) -> None:
    report = loaded.context_report
    unusable = report.dropped.get(CONTEXT_UNUSABLE, 0)
    if not unusable or unusable <= max_share * report.seen:
        return
    raise InvalidExampleError(
        f"{unusable} of {report.seen} context items of {loaded.source} have no usable text, above "
        f"data.max_unusable_context_share={max_share}: the model would train without the context "
        "that it is meant to use",
        hint="give each item a text under content, retrieved_chunk, text or code, or raise "
        "FIM_DATA_MAX_UNUSABLE_CONTEXT_SHARE",
        context=report.as_json(),
    )


def _warn_about_drops(loaded: LoadedExamples) -> None:
    if loaded.report.dropped:
        _log.warning(
            "%s: %d of %d rows dropped: %s",
            loaded.source,
            loaded.report.seen - loaded.report.used,
            loaded.report.seen,
            describe_problems(loaded),
        )
    for reason, count in sorted(loaded.context_report.dropped.items()):
        _log.warning("%s: %d context items dropped: %s", loaded.source, count, reason)


def describe_problems(loaded: LoadedExamples) -> str:
    """Return a line that counts the dropped rows and names the first of each reason."""
    parts = []
    for reason, count in sorted(loaded.report.dropped.items()):
        places = [each.location for each in loaded.problems if each.reason == reason]
        more = ", …" if count > len(places) else ""
        parts.append(f"{reason} {count} ({', '.join(places)}{more})")
    return "; ".join(parts)


def _hub_rows(settings: DataSettings, token: str | None) -> Iterator[RawRow]:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"reading the hub data set {settings.dataset_name} needs the package datasets",
            hint="pip install 'fim[train]', or give a local file with FIM_DATA_PATH",
        ) from error
    try:
        rows = datasets.load_dataset(
            settings.dataset_name,
            split=settings.dataset_split,
            streaming=settings.streaming or settings.max_examples is not None,
            token=token,
        )
        for number, fields in enumerate(rows):
            oversize = find_oversize(fields, max_row_bytes=settings.max_row_bytes)
            kept = None if oversize else fields
            yield RawRow(number, f"row {number + 1}", fields=kept, problem=oversize)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise SourceNotFoundError(
            f"the hub data set {settings.dataset_name!r} (split {settings.dataset_split!r}) cannot "
            f"be read: {error}",
            hint="check the name, the network and HF_TOKEN, or give a local parquet or JSONL of "
            "the same columns with FIM_DATA_PATH",
        ) from error
