"""Put whole groups of near-identical files on one side, and find text that stands on both."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from fim.corpus.hashing import stable_fraction
from fim.corpus.tokens import HashTable, mixed, powers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    from numpy.typing import NDArray

TRAIN = "train"
HELD_OUT = "held_out"
MIN_LEAK_CHARS = 40


def assign_sides(
    keys: Sequence[str], groups: Sequence[int], *, held_out_fraction: float, seed: int
) -> tuple[str, ...]:
    """Return the side of each file; a group's side depends on its own key and the seed alone.

    So files keep their side when other files come, go or change. Where chance leaves a side empty
    that could have a group, the group nearest to it moves over.

    Args:
        keys: A name for each file, by place and not by content.
        groups: The index of the first file of each file's group.
        held_out_fraction: Share of the groups that is held out, 0 to 1.
        seed: Another seed gives another split.
    """
    fractions = {
        leader: stable_fraction(seed, "split", keys[leader]) for leader in sorted(set(groups))
    }
    ranked = sorted(fractions, key=lambda leader: (fractions[leader], keys[leader]))
    held_out = {leader for leader in ranked if fractions[leader] < held_out_fraction}
    held_out -= set(ranked[-1:]) if len(held_out) == len(ranked) else set()
    if not held_out and len(ranked) > 1 and held_out_fraction > 0:
        held_out.add(ranked[0])
    return tuple(HELD_OUT if leader in held_out else TRAIN for leader in groups)


class VerbatimSearch:
    """Finds which of many needles stand verbatim in texts that are shown one after the other.

    Each text's windows of 40 characters are hashed at once (polynomial, modulo 2**64) and looked up
    among the needles' first 40 characters; a hit is then compared in full, so there is no chance of
    a wrong answer. Needles shorter than 40 characters are never found.

    Source:
        Karp and Rabin 1987, vectorised over prefix sums.
    """

    def __init__(self, needles: Iterable[str]) -> None:
        import numpy as np

        self._waiting: dict[int, set[str]] = defaultdict(set)
        for needle in needles:
            if len(needle) >= MIN_LEAK_CHARS:
                key = int(_window_hashes(needle[:MIN_LEAK_CHARS])[0])
                self._waiting[key].add(needle)
        self._table = HashTable(np.array(list(self._waiting), dtype=np.uint64))
        self.found: set[str] = set()

    def scan(self, text: str) -> None:
        """Look for every needle in one text."""
        if len(text) < MIN_LEAK_CHARS or not self._waiting:
            return
        hashes = _window_hashes(text)
        for position in self._table.find(hashes)[0]:
            waiting = self._waiting[int(hashes[position])]
            hits = {needle for needle in waiting if text.startswith(needle, int(position))}
            self.found |= hits
            waiting -= hits


def leak_needle(middle: str) -> str:
    """Return the text of a middle that must not stand in training text; empty when it is too short.

    White space around the middle is left out where 40 characters remain, which only finds more.
    """
    stripped = middle.strip()
    if len(stripped) >= MIN_LEAK_CHARS:
        return stripped
    return middle if len(middle) >= MIN_LEAK_CHARS else ""


def _window_hashes(text: str) -> NDArray[np.uint64]:
    import numpy as np

    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    factors, inverses = powers(len(codes))
    sums = np.zeros(len(codes) + 1, dtype=np.uint64)
    np.cumsum(codes * factors, out=sums[1:])
    windows = sums[MIN_LEAK_CHARS:] - sums[:-MIN_LEAK_CHARS]
    return mixed(windows * inverses[: len(windows)])
