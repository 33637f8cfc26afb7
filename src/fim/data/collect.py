"""From raw rows to the examples of both sides: every row is used or counted under a reason."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fim.data.causes import explain
from fim.data.rows import ParsedRow, RawRow, RowProblem, parse_row, shorten_fields, split_word
from fim.data.sides import HELD_OUT, TRAIN, side_of_row
from fim.errors import EmptyDatasetError, InvalidExampleError
from fim.types import DropReport, FimExample

if TYPE_CHECKING:
    from pathlib import Path

    from fim.config import DataSettings

CONTEXT_UNUSABLE = "context_unusable"
CONTEXT_HOLDS_MIDDLE = "context_holds_middle"
ROW_HINT = "every row needs the text fields prefix, middle and suffix"
_PROBLEMS_KEPT_PER_REASON = 3
_DETAILS_COUNTED = 1000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedExamples:
    """Examples of one side in the order of their source, and what was dropped on the way.

    Args:
        examples: The examples.
        report: Counts of rows.
        context_report: Counts of context items.
        problems: The first rows dropped under each reason.
        source: Where they come from.
        remarks: Counts of labels left out and of texts filled in, by remark.
        details: Counts of dropped rows by reason and detail.
        words: Counts of what the column ``split`` says, over both sides.
        files: Side by name of a file or hub split, over both sides, empty where it says none.
        held_out: On the training side, the rows that the data themselves hold out.
    """

    examples: tuple[FimExample, ...]
    report: DropReport
    context_report: DropReport = field(default_factory=DropReport)
    problems: tuple[RowProblem, ...] = ()
    source: str = ""
    remarks: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[tuple[str, str], int] = field(default_factory=dict)
    words: Mapping[str, int] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    held_out: LoadedExamples | None = None


@dataclass(frozen=True, slots=True)
class RowGroup:
    """The rows of a file or of a hub split, with its name and the side that the name says."""

    name: str
    side: str
    rows: Iterable[RawRow]


class _Side:
    """What is kept of one side while rows are read."""

    def __init__(self, limit: int | None) -> None:
        self.examples: list[FimExample] = []
        self.dropped: Counter[str] = Counter()
        self.context: Counter[str] = Counter()
        self.remarks: Counter[str] = Counter()
        self.details: Counter[tuple[str, str]] = Counter()
        self.problems: list[RowProblem] = []
        self._limit = limit

    def is_full(self) -> bool:
        """Tell whether it holds as many examples as were asked for."""
        return self._limit is not None and len(self.examples) >= self._limit

    def add(self, parsed: ParsedRow) -> None:
        """Keep a usable row."""
        self.examples.append(parsed.example)
        self.remarks.update(parsed.remarks)
        self.context["seen"] += parsed.context.num_seen
        self.context[CONTEXT_UNUSABLE] += parsed.context.num_unusable
        self.context[CONTEXT_HOLDS_MIDDLE] += parsed.context.num_holding_middle

    def drop(self, problem: RowProblem, row: RawRow) -> None:
        """Count a row that cannot be used, and keep the first ones of its reason."""
        self.dropped[problem.reason] += 1
        key = (problem.reason, problem.detail)
        if key in self.details or len(self.details) < _DETAILS_COUNTED:
            self.details[key] += 1
        if self.dropped[problem.reason] <= _PROBLEMS_KEPT_PER_REASON:
            sample = problem.sample or (shorten_fields(row.fields) if row.fields else "")
            kept = RowProblem(problem.reason, problem.detail, row.location, sample)
            self.problems.append(kept)

    def loaded(self, source: str, **more: object) -> LoadedExamples:
        """Return what was kept."""
        num_seen = len(self.examples) + self.dropped.total()
        return LoadedExamples(
            examples=tuple(self.examples),
            report=DropReport(num_seen, len(self.examples), dict(self.dropped)),
            context_report=_context_report(self.context),
            problems=tuple(self.problems),
            source=source,
            remarks=dict(sorted(self.remarks.items())),
            details=dict(self.details),
            **more,  # type: ignore[arg-type]
        )


def parse(row: RawRow) -> ParsedRow | RowProblem:
    """Return a raw row as an example, or why it is none."""
    if row.fields is None:
        return row.problem or RowProblem("wrong_type", "the row is empty")
    return parse_row(row.fields, default_id=f"row-{row.number}", file_side=row.side)


def collect(
    groups: Iterable[RowGroup],
    *,
    settings: DataSettings,
    source: str,
    paths: Iterable[Path] = (),
) -> LoadedExamples:
    """Return the training side of some rows, which holds the other one as ``held_out``.

    ``max_examples`` bounds each side. A group is left when the side that it is for is full; a group
    whose rows name their sides, when both are.

    Raises:
        EmptyDatasetError: There are no rows, or every row was dropped.
        InvalidExampleError: More context items than ``max_unusable_context_share`` are unusable.
    """
    sides = {name: _Side(settings.max_examples) for name in (TRAIN, HELD_OUT)}
    words: Counter[str] = Counter()
    files: dict[str, str] = {}
    for group in groups:
        files[group.name] = group.side
        own = sides[group.side or TRAIN]
        if own.is_full():
            continue
        num_words = words.total()
        for row in group.rows:
            word = split_word(row.fields) if row.fields is not None else ""
            words.update([word] if word else [])
            side = sides[side_of_row(word, row.side) or TRAIN]
            parsed = None if side.is_full() else parse(row)
            if isinstance(parsed, RowProblem):
                side.drop(parsed, row)
            elif parsed is not None:
                side.add(parsed)
            is_named = words.total() > num_words
            if own.is_full() and (not is_named or all(each.is_full() for each in sides.values())):
                break
    held_out = sides[HELD_OUT].loaded(source)
    about = {"words": dict(sorted(words.items())), "files": files, "held_out": held_out}
    train = sides[TRAIN].loaded(source, **about)
    _require_examples(train, held_out, paths)
    for each in (train, held_out):
        _require_context(each, settings.max_unusable_context_share)
        _warn_about_drops(each)
    return train


def describe_problems(loaded: LoadedExamples) -> str:
    """Return a line that counts the dropped rows and names the first of each reason."""
    parts = []
    for reason, count in sorted(loaded.report.dropped.items()):
        places = [each.location for each in loaded.problems if each.reason == reason]
        more = ", …" if count > len(places) else ""
        parts.append(f"{reason} {count} ({', '.join(places)}{more})")
    return "; ".join(parts)


def describe_commonest(loaded: LoadedExamples) -> str:
    """Return what is wrong with most of the dropped rows, and one of them; empty without any."""
    if not loaded.details:
        return ""
    (reason, detail), count = max(loaded.details.items(), key=lambda item: item[1])
    found = f"{detail} in {count} of {loaded.report.seen} rows"
    example = next(
        (each for each in loaded.problems if (each.reason, each.detail) == (reason, detail)), None
    )
    if example is None or not example.sample:
        return found
    return f"{found}, for example {example.location}: {example.sample}"


def _context_report(counts: Counter[str]) -> DropReport:
    reasons = (CONTEXT_UNUSABLE, CONTEXT_HOLDS_MIDDLE)
    dropped = {reason: counts[reason] for reason in reasons if counts[reason]}
    return DropReport(counts["seen"], counts["seen"] - sum(dropped.values()), dropped)


def _require_examples(
    train: LoadedExamples, held_out: LoadedExamples, paths: Iterable[Path]
) -> None:
    if train.examples or held_out.examples:
        return
    whole = _joined(train, held_out)
    if not whole.report.seen:
        raise EmptyDatasetError(
            f"{whole.source} holds no rows, so there is nothing to train or test on",
            hint="check the file, or build examples: fim data build PATH --out DIR",
        )
    cause = next(filter(None, (explain(path, whole.report.dropped) for path in paths)), None)
    what = f"{cause.path} is {cause.what}: " if cause is not None else ""
    raise EmptyDatasetError(
        f"{what}none of the {whole.report.seen} rows of {whole.source} can be used: "
        f"{describe_problems(whole)}: {describe_commonest(whole)}",
        hint=cause.hint if cause is not None else ROW_HINT,
        context=whole.report.as_json(),
    )


def _joined(one: LoadedExamples, other: LoadedExamples) -> LoadedExamples:
    """Return the counts of both sides as those of one."""
    dropped = Counter(one.report.dropped) + Counter(other.report.dropped)
    details = Counter(one.details) + Counter(other.details)
    return LoadedExamples(
        examples=(),
        report=DropReport(one.report.seen + other.report.seen, 0, dict(dropped)),
        problems=(*one.problems, *other.problems),
        source=one.source,
        details=details,
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
            "%s: %d of %d rows dropped: %s: %s",
            loaded.source,
            loaded.report.seen - loaded.report.used,
            loaded.report.seen,
            describe_problems(loaded),
            describe_commonest(loaded),
        )
    for reason, count in sorted(loaded.context_report.dropped.items()):
        _log.warning("%s: %d context items dropped: %s", loaded.source, count, reason)
    for remark, count in loaded.remarks.items():
        _log.warning("%s: %d rows used all the same: %s", loaded.source, count, remark)
