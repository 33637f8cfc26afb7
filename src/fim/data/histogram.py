"""How long the parts of a set's rows are, per language."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.data.stats import UNKNOWN
from fim.types import Cut, SegmentKind

if TYPE_CHECKING:
    from fim.data.encode import ExampleEncoder
    from fim.types import EncodedExample, FimExample

_NOTHING_CUT = Cut()


@dataclass(frozen=True, slots=True)
class Bin:
    """Rows whose length lies between two numbers of tokens, both included."""

    low: int
    high: int
    num_rows: int

    @property
    def label(self) -> str:
        """The range in words."""
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"


@dataclass(frozen=True, slots=True)
class LanguageHistogram:
    """Lengths in tokens of the rows of one language.

    Args:
        language: Its name, ``unknown`` where the rows name none.
        num_rows: Rows that fit.
        num_dropped: Examples that fit into no row.
        num_cut: Rows that lost code or context to the budget.
        mean_tokens: Mean number of tokens by kind of segment.
        middle_tokens: Lengths of the middles, in bins that double.
        row_tokens: Lengths of the rows, in bins that double.
    """

    language: str
    num_rows: int
    num_dropped: int
    num_cut: int
    mean_tokens: Mapping[SegmentKind, float]
    middle_tokens: tuple[Bin, ...]
    row_tokens: tuple[Bin, ...]

    def as_json(self) -> dict[str, object]:
        """Return the counts as JSON-ready data."""
        return {
            "language": self.language,
            "rows": self.num_rows,
            "dropped": self.num_dropped,
            "cut": self.num_cut,
            "mean_tokens": {kind.value: mean for kind, mean in self.mean_tokens.items()},
            "middle_tokens": _bins_as_json(self.middle_tokens),
            "row_tokens": _bins_as_json(self.row_tokens),
        }


def language_histograms(
    examples: Iterable[FimExample], encoder: ExampleEncoder
) -> tuple[LanguageHistogram, ...]:
    """Encode examples and count their rows, the language with the most rows first."""
    rows: dict[str, list[EncodedExample]] = {}
    dropped: Counter[str] = Counter()
    for example in examples:
        language = example.language or UNKNOWN
        row = encoder.try_encode(example)
        kept = rows.setdefault(language, [])
        if isinstance(row, str):
            dropped[language] += 1
        else:
            kept.append(row)
    ordered = sorted(rows, key=lambda language: (-len(rows[language]), language))
    return tuple(_histogram(name, rows[name], dropped[name]) for name in ordered)


def doubling_bins(lengths: Iterable[int]) -> tuple[Bin, ...]:
    """Count lengths in the bins 0, 1, 2-3, 4-7, 8-15 and so on, up to the longest.

    >>> [(each.label, each.num_rows) for each in doubling_bins([0, 2, 3, 5])]
    [('0', 1), ('1', 0), ('2-3', 2), ('4-7', 1)]
    """
    counts = Counter(length.bit_length() for length in lengths)
    if not counts:
        return ()
    return tuple(
        Bin(low=(1 << bits) >> 1, high=(1 << bits) - 1, num_rows=counts[bits])
        for bits in range(max(counts) + 1)
    )


def _histogram(language: str, rows: list[EncodedExample], num_dropped: int) -> LanguageHistogram:
    totals: Counter[SegmentKind] = Counter()
    for row in rows:
        for segment in row.segments:
            totals[segment.kind] += len(segment.ids)
    return LanguageHistogram(
        language=language,
        num_rows=len(rows),
        num_dropped=num_dropped,
        num_cut=sum(row.cut != _NOTHING_CUT for row in rows),
        mean_tokens={
            kind: round(totals[kind] / len(rows), 1) for kind in SegmentKind if totals[kind]
        },
        middle_tokens=doubling_bins(_num_middle(row) for row in rows),
        row_tokens=doubling_bins(len(row.input_ids) for row in rows),
    )


def _num_middle(row: EncodedExample) -> int:
    return sum(len(each.ids) for each in row.segments if each.kind is SegmentKind.MIDDLE)


def _bins_as_json(bins: Iterable[Bin]) -> list[dict[str, int]]:
    return [{"from": each.low, "to": each.high, "rows": each.num_rows} for each in bins]
