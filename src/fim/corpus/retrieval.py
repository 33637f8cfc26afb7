"""Windows of source files, found by the identifiers they share with a few lines: BM25, overlap."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.tokens import identifier_hashes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Numbers = NDArray[np.int32]
    Weights = NDArray[np.float64]

QUERY_PREFIX_LINES = 10
QUERY_SUFFIX_LINES = 5
_QUERY_CHARS = 1500
_MIN_WINDOW_LINES = 10
_MAX_WINDOW_LINES = 24
_MAX_POSTINGS = 200
_MIN_SHARED_TERMS = 3
_CODE_BITS = 32
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

        places: list[tuple[int, int]] = []
        owners, parts, counts = [], [], []
        for number, text in enumerate(texts):
            windows = list(cut_windows(text))
            found, times = np.unique(_terms_by_window(text, windows), return_counts=True)
            parts.append(found + np.uint64(len(places) << _CODE_BITS))
            counts.append(times)
            owners.append(np.full(len(windows), number, dtype=np.int32))
            places += windows
        nothing = np.zeros(0, dtype=np.int32)
        self.owners: Numbers = np.concatenate([nothing, *owners])
        self.places = places
        terms = np.concatenate([np.zeros(0, dtype=np.uint64), *parts])
        self._index(terms, np.concatenate([nothing, *counts]))

    def search(self, terms: Sequence[str]) -> Hits:
        """Return the windows that share three terms or more with a query."""
        import numpy as np

        codes = np.unique(_codes(identifier_hashes(" ".join(terms))[1]).astype(np.uint32))
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

    def _index(self, terms: Hashes, frequencies: Numbers) -> None:
        import numpy as np

        num_windows = len(self.places)
        windows = (terms >> np.uint64(_CODE_BITS)).astype(np.int32)
        codes = terms.astype(np.uint32)
        self._sizes: Numbers = np.bincount(windows, minlength=num_windows).astype(np.int32)
        lengths = np.bincount(windows, weights=frequencies, minlength=num_windows)
        mean_length = max(lengths.mean(), 1.0) if num_windows else 1.0
        order = np.argsort(codes, kind="stable")
        codes, frequencies, windows = codes[order], frequencies[order], windows[order]
        starts = np.flatnonzero(np.diff(codes, prepend=~codes[:1]))
        spread = np.diff(starts, append=len(codes))
        is_rare = spread <= _MAX_POSTINGS
        kept = np.repeat(is_rare, spread)
        idf = np.repeat(np.log(1 + (num_windows - spread + 0.5) / (spread + 0.5)), spread)[kept]
        frequencies, windows = frequencies[kept], windows[kept]
        norm = _K1 * (1 - _B + _B * lengths[windows] / mean_length)
        self._codes = codes[starts[is_rare]]
        self._starts = np.concatenate([[0], np.cumsum(spread[is_rare])]).astype(np.int64)
        self._windows: Numbers = windows
        self._weights = (idf * frequencies * (_K1 + 1) / (frequencies + norm)).astype(np.float32)


def _terms_by_window(text: str, windows: Sequence[tuple[int, int]]) -> Hashes:
    """Return the code of each identifier, with the number of its window in the upper half."""
    import numpy as np

    begins, hashes = identifier_hashes(text)
    is_plain = text.isascii()
    sizes = [
        end - start if is_plain else len(text[start:end].encode("utf-8", "surrogatepass"))
        for start, end in windows
    ]
    numbers = np.searchsorted(np.cumsum(sizes), begins, side="right").astype(np.uint64)
    return (numbers << np.uint64(_CODE_BITS)) | _codes(hashes)


def _codes(hashes: Hashes) -> Hashes:
    import numpy as np

    return hashes >> np.uint64(64 - _CODE_BITS)
