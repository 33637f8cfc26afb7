"""Counts over a set of examples."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.data.collect import LoadedExamples
    from fim.types import DropReport, FimExample

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LengthSummary:
    """Spread of some lengths in characters."""

    low: int
    median: int
    p95: int
    high: int

    def as_json(self) -> dict[str, int]:
        """Return the figures as JSON-ready data."""
        return {"min": self.low, "median": self.median, "p95": self.p95, "max": self.high}


@dataclass(frozen=True, slots=True)
class DataStats:
    """What a set of examples is made of."""

    num_examples: int
    languages: Mapping[str, int]
    span_kinds: Mapping[str, int]
    num_documents: int
    num_with_context: int
    num_empty_middles: int
    prefix_chars: LengthSummary
    middle_chars: LengthSummary
    suffix_chars: LengthSummary
    rows: DropReport
    context_items: DropReport
    remarks: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Return the counts as JSON-ready data."""
        return {
            "examples": self.num_examples,
            "languages": dict(self.languages),
            "span_kinds": dict(self.span_kinds),
            "documents": self.num_documents,
            "with_context": self.num_with_context,
            "empty_middles": self.num_empty_middles,
            "prefix_chars": self.prefix_chars.as_json(),
            "middle_chars": self.middle_chars.as_json(),
            "suffix_chars": self.suffix_chars.as_json(),
            "rows": self.rows.as_json(),
            "context_items": self.context_items.as_json(),
            "remarks": dict(self.remarks),
        }


def data_stats(loaded: LoadedExamples) -> DataStats:
    """Count languages, span kinds, documents, context and lengths of at least one example."""
    examples = loaded.examples
    documents = {(each.repo, each.document_id) for each in examples if each.document_id}
    return DataStats(
        num_examples=len(examples),
        languages=_tally([each.language for each in examples]),
        span_kinds=_tally([each.span_kind for each in examples]),
        num_documents=len(documents),
        num_with_context=sum(bool(each.context) for each in examples),
        num_empty_middles=sum(not each.middle for each in examples),
        prefix_chars=_lengths(examples, "prefix"),
        middle_chars=_lengths(examples, "middle"),
        suffix_chars=_lengths(examples, "suffix"),
        rows=loaded.report,
        context_items=loaded.context_report,
        remarks=loaded.remarks,
    )


def _tally(names: Sequence[str]) -> dict[str, int]:
    counts = Counter(name or UNKNOWN for name in names)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _lengths(examples: Sequence[FimExample], name: str) -> LengthSummary:
    ordered = sorted(len(getattr(example, name)) for example in examples)
    last = len(ordered) - 1
    return LengthSummary(
        low=ordered[0],
        median=ordered[last // 2],
        p95=ordered[round(last * 0.95)],
        high=ordered[last],
    )
