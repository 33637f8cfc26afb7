"""Find near-identical documents: MinHash over 5-grams of words, banded, then checked exactly."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING

from fim.corpus.comments import code_start
from fim.corpus.tokens import mixed, token_hashes, word_hashes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

NGRAM_WORDS = 5
MIN_COMPARED_WORDS = 50
NUM_PERMUTATIONS = 128
NUM_BANDS = 32
_ROWS_PER_BAND = NUM_PERMUTATIONS // NUM_BANDS
_KEPT_SHINGLES = 256
_SKETCH_MARGIN = 0.25


class UnionFind:
    """Disjoint sets over the numbers below ``size``; the smallest member leads its set."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def find(self, member: int) -> int:
        """Return the leader of a member's set."""
        while self._parents[member] != member:
            self._parents[member] = self._parents[self._parents[member]]
            member = self._parents[member]
        return member

    def union(self, first: int, second: int) -> None:
        """Join the sets of two members."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parents[high] = low

    def leaders(self) -> tuple[int, ...]:
        """Return each member's leader."""
        return tuple(self.find(member) for member in range(len(self._parents)))


def shingles(text: str) -> Hashes:
    """Return the sorted distinct hashes of a text's 5-grams of words, leading comments left out.

    A text with fewer than 50 words of code has too little to tell likeness by: it has one hash, of
    all its words and signs, which only the same text shares.
    """
    import numpy as np

    hashes = word_hashes(text[code_start(text) :])
    if len(hashes) < MIN_COMPARED_WORDS:
        return _whole(token_hashes(text))
    grams = np.zeros(len(hashes) - NGRAM_WORDS + 1, dtype=np.uint64)
    for offset, factor in enumerate(_odd_numbers(b"words", NGRAM_WORDS)):
        grams += mixed(hashes[offset : offset + len(grams)] + factor) * factor
    return np.unique(mixed(grams))


def _whole(hashes: Hashes) -> Hashes:
    import numpy as np

    if not len(hashes):
        return hashes
    factors = _odd_numbers(b"whole", 1)[0] ** np.arange(1, len(hashes) + 1, dtype=np.uint64)
    return mixed((mixed(hashes) * factors).sum(keepdims=True, dtype=np.uint64))


def signature(hashes: Hashes) -> Hashes:
    """Return the MinHash signature of a set of shingles, ``[128]``.

    Source:
        Broder 1997, with multiply-shift hashing (Dietzfelbinger et al. 1997) for the permutations.
    """
    import numpy as np

    factors = _odd_numbers(b"factors", NUM_PERMUTATIONS)
    offsets = _odd_numbers(b"offsets", NUM_PERMUTATIONS)
    lowest = np.full(NUM_PERMUTATIONS, np.iinfo(np.uint64).max, dtype=np.uint64)
    if len(hashes):
        permuted = np.empty_like(hashes)
        for number in range(NUM_PERMUTATIONS):
            np.multiply(hashes, factors[number], out=permuted)
            permuted += offsets[number]
            lowest[number] = permuted.min()
    return lowest


def jaccard(first: Hashes, second: Hashes) -> float:
    """Return the share of shingles that two sets have in common, 0 to 1."""
    import numpy as np

    num_common = len(np.intersect1d(first, second, assume_unique=True))
    num_all = len(first) + len(second) - num_common
    return num_common / num_all if num_all else 1.0


def near_duplicate_groups(texts: Sequence[str], threshold: float) -> tuple[int, ...]:
    """Return, for each text, the index of the first text of its near-duplicate group.

    Two texts are joined when the Jaccard similarity of their 5-grams is at least ``threshold``;
    32 bands of 4 rows find a pair at 0.7 with a chance above 99.9 %.
    """
    import numpy as np

    sketches = [signature(shingles(text)) for text in texts]
    table = np.stack(sketches) if sketches else np.zeros((0, NUM_PERMUTATIONS), dtype=np.uint64)
    return group_signatures(table, texts.__getitem__, threshold)


def group_signatures(
    signatures: Hashes, text_of: Callable[[int], str], threshold: float
) -> tuple[int, ...]:
    """Return the groups of texts of which only the signatures are in memory.

    Args:
        signatures: MinHash signatures, ``[texts, 128]``.
        text_of: Gives a text for an exact comparison; asked for candidates only.
        threshold: Jaccard similarity from which two texts are joined.
    """
    import numpy as np

    shingles_of = lru_cache(maxsize=_KEPT_SHINGLES)(lambda index: shingles(text_of(index)))
    groups = UnionFind(len(signatures))
    refused: set[tuple[int, int]] = set()
    for members in _buckets(signatures):
        if len({groups.find(int(member)) for member in members}) == 1:
            continue
        for place in range(1, len(members)):
            second = int(members[place])
            likeness = (signatures[members[:place]] == signatures[second]).mean(axis=1)
            for nearby in np.flatnonzero(likeness >= threshold - _SKETCH_MARGIN):
                first = int(members[nearby])
                if groups.find(first) == groups.find(second) or (first, second) in refused:
                    continue
                if jaccard(shingles_of(first), shingles_of(second)) >= threshold:
                    groups.union(first, second)
                else:
                    refused.add((first, second))
    return groups.leaders()


def _buckets(signatures: Hashes) -> Iterator[NDArray[np.int64]]:
    import numpy as np

    factors = _odd_numbers(b"bands", _ROWS_PER_BAND)
    for band in range(NUM_BANDS):
        rows = signatures[:, band * _ROWS_PER_BAND : (band + 1) * _ROWS_PER_BAND]
        keys = mixed(rows * factors).sum(axis=1, dtype=np.uint64)
        order = np.argsort(keys, kind="stable")
        breaks = np.flatnonzero(np.diff(keys[order])) + 1
        for members in np.split(order, breaks) if len(order) else ():
            if len(members) > 1:
                yield members


def _odd_numbers(purpose: bytes, count: int) -> Hashes:
    import numpy as np

    stream = hashlib.shake_128(b"fim.corpus.dedup/" + purpose).digest(8 * count)
    return np.frombuffer(stream, dtype="<u8").astype(np.uint64) | np.uint64(1)
