"""Text of other files for every hole: definitions of nearby names, and windows that are alike."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

from fim.corpus.hashing import stable_fraction

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fim.config import CorpusSettings
    from fim.corpus.neighbours import Candidate, Neighbourhood, Target

BYTES_PER_TOKEN = 3.3
MIN_TELLING_CHARS = 20
_MIN_TELLING_LINE_CHARS = 8
_MAX_SHARED_LINES = 0.8
_FUSION_CONSTANT = 60
_DEFINITION_WORTH = 2
_SCORE_DIGITS = 6


@dataclass(slots=True)
class ContextCounts:
    """What the rows of a set got as context, and why some got none.

    Args:
        rows: Rows by outcome: ``with_context``, ``none_by_share``, ``none_found``.
        items: Items given, by how they were found.
        dropped: Items found and not given, by reason.
    """

    rows: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> Mapping[str, object]:
        """Return JSON-ready counts, sorted by name."""
        parts = {"rows": self.rows, "items": self.items, "items_dropped": self.dropped}
        return {name: dict(sorted(counts.items())) for name, counts in parts.items()}

    def add(self, other: ContextCounts) -> None:
        """Add the counts of other rows."""
        self.rows.update(other.rows)
        self.items.update(other.items)
        self.dropped.update(other.dropped)


@dataclass(frozen=True, slots=True)
class Hole:
    """A hole that wants context.

    Args:
        id: Identifies it; the shares are drawn from it.
        text: The whole document.
        start: Where the middle begins (characters).
        end: Where the middle ends (characters).
    """

    id: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Pick:
    """A piece of another file that a row gets, and how much it is worth."""

    candidate: Candidate
    score: float


def choose_context(
    hole: Hole,
    target: Target,
    neighbourhood: Neighbourhood,
    settings: CorpusSettings,
    counts: ContextCounts,
) -> tuple[Pick, ...]:
    """Return the pieces of other files that help to fill a hole, the most relevant first.

    They depend on what stands before and behind the hole and on the other files, never on the
    middle, except that a piece which holds the middle is left out. Holes to train on see only files
    to train on; no hole sees a near-duplicate of its own file.

    Args:
        hole: The hole.
        target: Its file and its side.
        neighbourhood: The files that context may come from.
        settings: Number of items, budget and shares.
        counts: Told what was given and left out.
    """
    if _draw(settings, "none", hole) < settings.context_none_share:
        counts.rows["none_by_share"] += 1
        return ()
    prefix, suffix = hole.text[: hole.start], hole.text[hole.end :]
    rankings = neighbourhood.rankings(target, prefix=prefix, suffix=suffix)
    picker = _Picker(neighbourhood, settings, hole.text[hole.start : hole.end], counts)
    for candidate, score in fuse(rankings):
        picker.offer(candidate, score)
    if picker.picks and _draw(settings, "distractor", hole) < settings.context_distractor_share:
        _add_distractor(picker, neighbourhood, target, _draw(settings, "which", hole))
    counts.rows["with_context" if picker.picks else "none_found"] += 1
    counts.items.update(pick.candidate.origin for pick in picker.picks)
    return tuple(picker.picks)


def holds_middle(text: str, middle: str) -> bool:
    """Tell whether a text gives a middle away: holds it, or four fifths of its lines.

    White space does not matter. Middles under 20 characters are vocabulary and give nothing away.
    """
    if len(middle.strip()) < MIN_TELLING_CHARS:
        return False
    if " ".join(middle.split()) in " ".join(text.split()):
        return True
    lines = [line.strip() for line in middle.split("\n")]
    lines = [line for line in lines if len(line) >= _MIN_TELLING_LINE_CHARS]
    known = {line.strip() for line in text.split("\n")}
    return len(lines) > 1 and sum(line in known for line in lines) >= _MAX_SHARED_LINES * len(lines)


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has: its bytes by 3.3, rounded up.

    The tokenizer of SmolLM2 has a token for 3.8 bytes of the Python standard library, 3.7 of click
    and of TanStack Query, 3.4 of Rust's ignore and 2.9 of C headers.
    """
    num_bytes = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return ceil(num_bytes / BYTES_PER_TOKEN)


def fuse(rankings: Iterable[Sequence[Candidate]]) -> tuple[tuple[Candidate, float], ...]:
    """Return the candidates of several rankings, best first, by reciprocal rank.

    A definition counts twice, since a window of the same folder may stand in both other rankings.

    Source:
        Cormack, Clarke and Buettcher 2009, constant 60.
    """
    scores: dict[tuple[int, int, int], float] = {}
    first: dict[tuple[int, int, int], Candidate] = {}
    for ranking in rankings:
        for rank, candidate in enumerate(ranking, start=1):
            worth = _DEFINITION_WORTH if candidate.origin == "definition" else 1
            scores[candidate.key] = scores.get(candidate.key, 0) + worth / (_FUSION_CONSTANT + rank)
            first.setdefault(candidate.key, candidate)
    ranked = sorted(scores, key=lambda key: (-scores[key], first[key].origin != "definition", key))
    return tuple((first[key], round(scores[key], _SCORE_DIGITS)) for key in ranked)


def _add_distractor(
    picker: _Picker, neighbourhood: Neighbourhood, target: Target, number: float
) -> None:
    candidate = neighbourhood.distractor(target, number)
    if candidate is not None:
        if picker.is_full:
            picker.take_back()
        picker.offer(candidate, 0.0)


def _draw(settings: CorpusSettings, purpose: str, hole: Hole) -> float:
    return stable_fraction(settings.seed, "context", purpose, hole.id)


class _Picker:
    """Takes whole items until their number or the budget of tokens is used up."""

    def __init__(
        self,
        neighbourhood: Neighbourhood,
        settings: CorpusSettings,
        middle: str,
        counts: ContextCounts,
    ) -> None:
        self._neighbourhood = neighbourhood
        self._max_items = settings.context_items
        self._room = settings.context_max_tokens
        self._middle = middle
        self._counts = counts
        self.picks: list[Pick] = []

    @property
    def is_full(self) -> bool:
        """Whether no further item is wanted."""
        return len(self.picks) >= self._max_items

    def take_back(self) -> None:
        """Give the last item back."""
        candidate = self.picks.pop().candidate
        self._room += estimated_tokens(self._neighbourhood.text(candidate))

    def offer(self, candidate: Candidate, score: float) -> None:
        """Take a candidate where it fits, tells something new and does not hold the middle."""
        if self.is_full or any(candidate.overlaps(pick.candidate) for pick in self.picks):
            return
        text = self._neighbourhood.text(candidate)
        size = estimated_tokens(text)
        if size > self._room:
            self._counts.dropped["over_budget"] += 1
        elif holds_middle(text, self._middle):
            self._counts.dropped["holds_middle"] += 1
        elif text.strip():
            self._room -= size
            self.picks.append(Pick(candidate, score))
