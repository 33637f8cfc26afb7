"""Runs of tokens that stand in two places: hashed at once, looked up for many texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.corpus.tokens import HashTable, mixed, powers, token_hashes

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

GOLD_TOKENS = 13


def ngram_hashes(text: str, width: int = GOLD_TOKENS) -> Hashes:
    """Return the sorted distinct hashes of a text's runs of ``width`` tokens."""
    import numpy as np

    return np.unique(_runs(token_hashes(text), width))


class NgramSearch:
    """Finds which runs of tokens stand in texts that are shown one after the other.

    Args:
        wanted: Hashes of the runs, from ``ngram_hashes``.
        width: Tokens in a run.
    """

    def __init__(self, wanted: Hashes, width: int = GOLD_TOKENS) -> None:
        import numpy as np

        self._width = width
        self._table = HashTable(wanted)
        self._hits = np.zeros(len(self._table.keys), dtype=bool)
        self._told = self._hits.copy()

    @property
    def found(self) -> Hashes:
        """Return the sorted hashes that stood in a text so far."""
        return self._table.keys[self._hits]

    def news(self) -> Hashes:
        """Return the sorted hashes that stood in a text for the first time since the last call."""
        fresh = self._hits & ~self._told
        self._told |= fresh
        return self._table.keys[fresh]

    def scan(self, text: str) -> int:
        """Look for every run in one text and return how many different ones stand there."""
        import numpy as np

        if not len(self._hits):
            return 0
        hits = np.unique(self._table.find(_runs(token_hashes(text), self._width))[1])
        self._hits[hits] = True
        return len(hits)


def share_found(wanted: Hashes, found: Hashes) -> float:
    """Return the share of some hashes that are among others, which are sorted, 0 to 1."""
    import numpy as np

    if not len(wanted) or not len(found):
        return 0.0
    places = np.searchsorted(found, wanted)
    places[places == len(found)] = 0
    return float((found[places] == wanted).mean())


def all_ngrams(texts: Iterable[str], width: int = GOLD_TOKENS) -> Hashes:
    """Return the sorted distinct runs of several texts."""
    import numpy as np

    parts = [ngram_hashes(text, width) for text in texts]
    return np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.uint64)


def _runs(tokens: Hashes, width: int) -> Hashes:
    import numpy as np

    count = len(tokens) - width + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64)
    factors, inverses = powers(len(tokens))
    sums = np.zeros(len(tokens) + 1, dtype=np.uint64)
    np.cumsum(tokens * factors, out=sums[1:])
    return mixed((sums[width:] - sums[:-width]) * inverses[:count])
