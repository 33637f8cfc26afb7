"""Leave holes out: repeats, leaks and sub-samples, all counted, without any text in memory."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.hashing import stable_hash
from fim.corpus.ngrams import ngram_hashes, share_found
from fim.corpus.reasons import HoleDropReason
from fim.corpus.shards import DocumentRows, row_id
from fim.corpus.splits import leak_needle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence, Set

    import numpy as np
    from numpy.typing import NDArray

    from fim.corpus.reasons import Tally
    from fim.corpus.spans import Span
    from fim.corpus.study import CutHoles, Placed


@dataclass(frozen=True, slots=True)
class CutDocument:
    """A document with its holes; ``middles`` holds their texts where it is held out."""

    placed: Placed
    spans: tuple[Span, ...]
    middles: tuple[str, ...]

    def keep(self, wanted: Callable[[int], bool]) -> CutDocument:
        """Return the document with those holes whose number is wanted."""
        numbers = [number for number in range(len(self.spans)) if wanted(number)]
        if len(numbers) == len(self.spans):
            return self
        return CutDocument(
            self.placed,
            tuple(self.spans[number] for number in numbers),
            tuple(self.middles[number] for number in numbers) if self.middles else (),
        )

    def rows(self) -> DocumentRows:
        """Return what is written of the document."""
        return DocumentRows(self.placed.stored, self.spans, self.placed.split)


class RepeatFilter:
    """Leaves out holes seen before: same middle, same last 64 characters before it."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._seen: set[bytes] = set()

    def document(self, placed: Placed, cut: CutHoles) -> CutDocument:
        """Return a document with its new holes."""
        is_new = []
        for key in cut.repeats:
            is_new.append(key not in self._seen)
            self._seen.add(key)
        self._tally.drop(HoleDropReason.DUPLICATE_HOLE, is_new.count(False))
        return CutDocument(placed, cut.spans, cut.middles).keep(is_new.__getitem__)


def without_leaks(
    held_out: Iterable[CutDocument],
    *,
    needles: Set[str],
    ngrams: NDArray[np.uint64],
    width: int,
    tally: Tally,
) -> tuple[CutDocument, ...]:
    """Return held-out documents without the holes whose middle stands in training text.

    Args:
        held_out: Documents with the texts of their middles.
        needles: Middles found verbatim.
        ngrams: Sorted hashes of the runs of tokens found.
        width: Tokens in a run; 0 looked for none.
        tally: Told of every hole left out.
    """

    def is_clean(middle: str) -> bool:
        if leak_needle(middle) in needles:
            tally.drop(HoleDropReason.MIDDLE_IN_TRAINING_TEXT)
            return False
        if width and share_found(ngram_hashes(middle, width), ngrams) > 0:
            tally.drop(HoleDropReason.NGRAM_IN_TRAINING_TEXT)
            return False
        return True

    kept = []
    for item in held_out:
        clean = [is_clean(middle) for middle in item.middles]
        kept.append(item.keep(clean.__getitem__))
    return tuple(kept)


def sub_sample(
    documents: Sequence[CutDocument], limit: int | None, *, seed: int, tally: Tally
) -> tuple[CutDocument, ...]:
    """Return documents with at most ``limit`` holes in all, chosen by seed, spread over them."""
    total = sum(len(item.spans) for item in documents)
    if limit is None or total <= limit:
        return tuple(documents)
    ranked: list[tuple[int, str, int, int]] = []
    for index, item in enumerate(documents):
        document_id = item.placed.stored.document.id
        marks = sorted(
            (stable_hash(seed, "sample", row_id(document_id, span)), number)
            for number, span in enumerate(item.spans)
        )
        ranked += [(turn, mark, index, number) for turn, (mark, number) in enumerate(marks)]
    chosen: dict[int, set[int]] = defaultdict(set)
    for _, _, index, number in sorted(ranked)[:limit]:
        chosen[index].add(number)
    tally.drop(HoleDropReason.SAMPLED_OUT, total - limit)
    return tuple(item.keep(chosen[index].__contains__) for index, item in enumerate(documents))
