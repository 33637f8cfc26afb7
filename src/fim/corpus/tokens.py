"""Words and signs of a text as hashes, found at once for the whole text."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Offsets = NDArray[np.int64]

_BASE = 0x9E3779B97F4A7C15
_INVERSE_BASE = pow(_BASE, -1, 2**64)
_NOT_ASCII = 128
_NOTHING, _SIGN, _WORD = 0, 1, 2
_IDENTIFIER_BYTES = 3


def mixed(values: Hashes) -> Hashes:
    """Return each number with its bits mixed, one to one (the finaliser of MurmurHash3)."""
    import numpy as np

    mixed = (values ^ (values >> np.uint64(33))) * np.uint64(0xFF51AFD7ED558CCD)
    mixed = (mixed ^ (mixed >> np.uint64(33))) * np.uint64(0xC4CEB9FE1A85EC53)
    return mixed ^ (mixed >> np.uint64(33))


def token_hashes(text: str) -> Hashes:
    """Return a hash for each token of a text, in order: a word, or any other visible character.

    White space counts for nothing, so another indentation or line end is the same text.
    """
    return _hashed(_content(text), with_signs=True)[1]


def word_hashes(text: str) -> Hashes:
    """Return a hash for each word of a text, in order."""
    return _hashed(_content(text), with_signs=False)[1]


def identifier_hashes(text: str) -> tuple[Offsets, Hashes]:
    """Return where each identifier of a text begins (bytes), and its hash, in order.

    An identifier is a word of three bytes or more that does not begin with a digit.
    """
    content = _content(text)
    begins, hashes, lengths = _hashed(content, with_signs=False)
    first = content[begins]
    is_name = (lengths >= _IDENTIFIER_BYTES) & ((first < ord("0")) | (first > ord("9")))
    return begins[is_name], hashes[is_name]


def powers(count: int) -> tuple[Hashes, Hashes]:
    """Return the powers of the base of polynomial hashes and those of its inverse, ``[count]``."""
    both = _powers(1 << max(12, (count - 1).bit_length()))
    return both[0][:count], both[1][:count]


def _content(text: str) -> NDArray[np.uint8]:
    import numpy as np

    return np.frombuffer(text.encode("utf-8", "surrogatepass"), dtype=np.uint8)


def _hashed(content: NDArray[np.uint8], *, with_signs: bool) -> tuple[Offsets, Hashes, Offsets]:
    """Return where tokens begin, their hashes and their lengths in bytes."""
    import numpy as np

    kinds = _kinds_of_bytes()[content]
    is_word = kinds == _WORD
    is_first = is_word.copy()
    is_first[1:] &= ~is_word[:-1]
    begins = np.flatnonzero(is_first | (kinds == _SIGN) if with_signs else is_first)
    if not len(begins):
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing.astype(np.uint64), nothing
    factors, inverses = powers(len(content))
    counted = is_word | (kinds == _SIGN) if with_signs else is_word
    values = (content.astype(np.uint64) + np.uint64(1)) * factors
    values *= counted
    sums = np.add.reduceat(values, begins)
    lengths = np.add.reduceat(counted, begins, dtype=np.int64)
    return begins, mixed(sums * inverses[begins]), lengths


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


class HashTable:
    """Sorted hashes, and a coarse table that refuses most strangers at once.

    Args:
        hashes: The hashes, in any order.
    """

    def __init__(self, hashes: Hashes) -> None:
        import numpy as np

        self.keys = np.unique(hashes)
        num_bits = min(22, max(10, (8 * len(self.keys)).bit_length()))
        self._shift = np.uint64(64 - num_bits)
        self._coarse = np.zeros(1 << num_bits, dtype=bool)
        self._coarse[self.keys >> self._shift] = True

    def find(self, hashes: Hashes) -> tuple[Offsets, Offsets]:
        """Return which of some hashes are among the keys, and which keys they are."""
        import numpy as np

        likely = np.flatnonzero(self._coarse[hashes >> self._shift])
        if not len(likely) or not len(self.keys):
            nothing = np.zeros(0, dtype=np.int64)
            return nothing, nothing
        wanted = hashes[likely]
        places = np.searchsorted(self.keys, wanted)
        places[places == len(self.keys)] = 0
        is_found = self.keys[places] == wanted
        return likely[is_found], places[is_found]
