"""Windows of source files, found by the identifiers they share with a few lines: BM25, overlap."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Numbers = NDArray[np.int32]
    Weights = NDArray[np.float64]

QUERY_PREFIX_LINES = 10
QUERY_SUFFIX_LINES = 5
_QUERY_CHARS = 1500
_MIN_WINDOW_LINES = 10
_MAX_WINDOW_LINES = 24
_MAX_POSTINGS = 200
_MIN_SHARED_TERMS = 3
_K1 = 1.2
_B = 0.75
_IDENTIFIER = re.compile(r"[^\W\d]\w{2,}")


@dataclass(frozen=True, slots=True)
class Hits:
    """The windows that share terms with a query, in order of window.

    Args:
        windows: Numbers of the windows, ``[N]``.
        scores: BM25 of each, ``[N]``.
        overlaps: Jaccard similarity of each window's terms and the query's, ``[N]``.
    """

    windows: Numbers
    scores: Weights
    overlaps: Weights


def query_terms(prefix: str, suffix: str) -> tuple[str, ...]:
    """Return the identifiers around a hole, nearest to it first; the middle is never seen."""
    before = "\n".join(prefix[-_QUERY_CHARS:].split("\n")[-QUERY_PREFIX_LINES:])
    after = "\n".join(suffix[:_QUERY_CHARS].split("\n")[:QUERY_SUFFIX_LINES])
    names = [*reversed(_IDENTIFIER.findall(before)), *_IDENTIFIER.findall(after)]
    return tuple(dict.fromkeys(names))


def cut_windows(text: str) -> Iterator[tuple[int, int]]:
    """Yield the windows of a text in characters: 10 to 24 whole lines, ended at a blank one."""
    start = position = num_lines = 0
    for line in text.splitlines(keepends=True):
        position += len(line)
        num_lines += 1
        is_pause = num_lines >= _MIN_WINDOW_LINES and not line.strip()
        if is_pause or num_lines == _MAX_WINDOW_LINES:
            yield start, position
            start, num_lines = position, 0
    if start < position:
        yield start, position


class WindowIndex:
    """An inverted index over the windows of many texts.

    Terms that stand in more than 200 windows tell nothing apart and are left out, which bounds the
    work of a query. Memory is about that of the texts, which are not kept.

    Source:
        Robertson and Zaragoza 2009 (BM25, k1 1.2, b 0.75).
    """

    def __init__(self, texts: Sequence[str]) -> None:
        import numpy as np

        owners: list[int] = []
        places: list[tuple[int, int]] = []
        terms: list[Numbers] = []
        counts: list[Numbers] = []
        for number, text in enumerate(texts):
            for start, end in cut_windows(text):
                found = Counter(_IDENTIFIER.findall(text, start, end))
                codes = [_code(term) for term in found]
                owners.append(number)
                places.append((start, end))
                terms.append(np.array(codes, dtype=np.uint32))
                counts.append(np.array(list(found.values()), dtype=np.int32))
        self.owners: Numbers = np.array(owners, dtype=np.int32)
        self.places = places
        self._sizes: Numbers = np.array([len(part) for part in terms], dtype=np.int32)
        self._index(terms, counts)

    def search(self, terms: Sequence[str]) -> Hits:
        """Return the windows that share three terms or more with a query."""
        import numpy as np

        codes = np.unique(np.array([_code(term) for term in terms], dtype=np.uint32))
        places = np.searchsorted(self._codes, codes)
        places[places == len(self._codes)] = 0
        known = places[self._codes[places] == codes] if len(self._codes) else places[:0]
        spans = [slice(self._starts[place], self._starts[place + 1]) for place in known]
        if not spans:
            return Hits(np.zeros(0, dtype=np.int32), np.zeros(0), np.zeros(0))
        touched = np.concatenate([self._windows[span] for span in spans])
        weights = np.concatenate([self._weights[span] for span in spans])
        windows, inverse = np.unique(touched, return_inverse=True)
        scores = np.bincount(inverse, weights=weights).astype(np.float64)
        shared = np.bincount(inverse)
        overlaps = shared / (len(codes) + self._sizes[windows] - shared)
        kept = shared >= _MIN_SHARED_TERMS
        return Hits(windows[kept], scores[kept], overlaps[kept])

    def _index(self, terms: Sequence[Numbers], counts: Sequence[Numbers]) -> None:
        import numpy as np

        codes = np.concatenate([np.zeros(0, dtype=np.uint32), *terms])
        frequencies = np.concatenate([np.zeros(0, dtype=np.int32), *counts])
        windows = np.repeat(np.arange(len(terms), dtype=np.int32), self._sizes)
        order = np.argsort(codes, kind="stable")
        codes, frequencies, windows = codes[order], frequencies[order], windows[order]
        known, inverse, spread = np.unique(codes, return_inverse=True, return_counts=True)
        rare = spread <= _MAX_POSTINGS
        kept = rare[inverse]
        lengths = np.bincount(windows, weights=frequencies, minlength=len(terms))
        mean_length = max(lengths.mean(), 1.0) if len(lengths) else 1.0
        idf = np.log(1 + (len(terms) - spread + 0.5) / (spread + 0.5))
        norm = _K1 * (1 - _B + _B * lengths[windows] / mean_length)
        weights = idf[inverse] * frequencies * (_K1 + 1) / (frequencies + norm)
        self._codes = known[rare]
        self._starts = np.concatenate([[0], np.cumsum(spread[rare])]).astype(np.int64)
        self._windows: Numbers = windows[kept]
        self._weights: Weights = weights[kept].astype(np.float32)


def _code(term: str) -> int:
    return zlib.crc32(term.encode("utf-8", "surrogatepass"))
