"""Runs of tokens that stand in two places: hashed at once, looked up for many texts."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from fim.corpus.dedup import mixed

if TYPE_CHECKING:
    from collections.abc import Iterable

    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]

GOLD_TOKENS = 13
_BASE = 0x9E3779B97F4A7C15
_INVERSE_BASE = pow(_BASE, -1, 2**64)
_NOT_ASCII = 128
_NOTHING, _SIGN, _WORD = 0, 1, 2


def token_hashes(text: str) -> Hashes:
    """Return a hash for each token of a text, in order: a word, or any other visible character.

    White space counts for nothing, so another indentation or line end is the same text.
    """
    import numpy as np

    content = np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)
    if not len(content):
        return np.zeros(0, dtype=np.uint64)
    kinds = _kinds_of_bytes()[content]
    is_word = kinds == _WORD
    starts = kinds == _SIGN
    starts[0] |= is_word[0]
    starts[1:] |= is_word[1:] & ~is_word[:-1]
    begins = np.flatnonzero(starts)
    if not len(begins):
        return np.zeros(0, dtype=np.uint64)
    powers, inverses = _powers(_room(len(content)))
    values = (content.astype(np.uint64) + np.uint64(1)) * powers[: len(content)]
    values[kinds == _NOTHING] = 0
    sums = np.add.reduceat(values, begins)
    return mixed(sums * inverses[begins])


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
        self._keys = np.unique(wanted)
        self._hits = np.zeros(len(self._keys), dtype=bool)

    @property
    def found(self) -> Hashes:
        """Return the sorted hashes that stood in a text so far."""
        return self._keys[self._hits]

    def scan(self, text: str) -> int:
        """Look for every run in one text and return how many different ones stand there."""
        import numpy as np

        runs = _runs(token_hashes(text), self._width)
        if not len(runs) or not len(self._keys):
            return 0
        places = np.searchsorted(self._keys, runs)
        places[places == len(self._keys)] = 0
        hits = np.unique(places[self._keys[places] == runs])
        self._hits[hits] = True
        return len(hits)


def share_found(wanted: Hashes, found: Hashes) -> float:
    """Return the share of some sorted hashes that are among others, 0 to 1."""
    import numpy as np

    return float(np.isin(wanted, found).mean()) if len(wanted) else 0.0


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
    powers, inverses = _powers(_room(len(tokens)))
    sums = np.zeros(len(tokens) + 1, dtype=np.uint64)
    np.cumsum(tokens * powers[: len(tokens)], out=sums[1:])
    return mixed((sums[width:] - sums[:-width]) * inverses[:count])


def _room(size: int) -> int:
    return 1 << max(12, (size - 1).bit_length())


@lru_cache(maxsize=8)
def _powers(count: int) -> tuple[Hashes, Hashes]:
    import numpy as np

    both = []
    for base in (_BASE, _INVERSE_BASE):
        factors = np.full(count, base, dtype=np.uint64)
        factors[0] = 1
        both.append(np.multiply.accumulate(factors))
    return both[0], both[1]


@lru_cache(maxsize=1)
def _kinds_of_bytes() -> NDArray[np.uint8]:
    import numpy as np

    kinds = [
        _WORD
        if code >= _NOT_ASCII or chr(code).isalnum() or chr(code) == "_"
        else _NOTHING
        if chr(code).isspace() or not chr(code).isprintable()
        else _SIGN
        for code in range(256)
    ]
    return np.array(kinds, dtype=np.uint8)
