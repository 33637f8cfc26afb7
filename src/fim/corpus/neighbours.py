"""The files around a hole's file: what they define, and which of their windows are alike."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fim.corpus.history import History
from fim.corpus.retrieval import WindowIndex, query_terms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fim.corpus.retrieval import Hits
    from fim.corpus.symbols import Definition

NEAREST = 8
RECENT_FILES = 10
_MAX_ITEM_CHARS = 1500
_MAX_NAMESAKES = 3
_MIN_NAME_CHARS = 4
_NUM_DISTRACTORS = 8
_IMPORTED, _BESIDE, _SAME_REPO = range(3)
_NEVER = History()
_FAMILIES = {"TSX": "TypeScript", "JavaScript": "TypeScript", "C++": "C"}


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A file that context may come from.

    Args:
        repo: Name of its root.
        path: Its path there.
        language: Its language.
        text: Its text, free of secrets.
        group: Leader of its near-duplicate group.
        trains: Whether it stands on the training side.
        definitions: What it defines, in order.
        links: Where each import stands (characters), and the number of the file it means.
        history: When it was made and which commits see it.
    """

    repo: str
    path: str
    language: str
    text: str
    group: str
    trains: bool
    definitions: tuple[Definition, ...] = ()
    links: tuple[tuple[int, int], ...] = ()
    history: History = _NEVER


@dataclass(frozen=True, slots=True)
class Target:
    """The file of a hole, the characters of the hole, and the side it stands on."""

    number: int
    hole: tuple[int, int]
    trains: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A piece of a file: how it was found, and its characters."""

    origin: str
    number: int
    start: int
    end: int

    @property
    def key(self) -> tuple[int, int, int]:
        """Identify the piece whatever found it."""
        return self.number, self.start, self.end

    def overlaps(self, other: Candidate) -> bool:
        """Tell whether two pieces share text."""
        return self.number == other.number and self.start < other.end and other.start < self.end


class Neighbourhood:
    """Finds text for holes in the files of a corpus; read-only after it is made.

    Args:
        files: The files that may be context, those of the holes among them.
    """

    def __init__(self, files: Sequence[Neighbour]) -> None:
        import numpy as np

        self._files = tuple(files)
        self._windows = WindowIndex([file.text for file in files])
        self._by_name: dict[str, list[tuple[int, Definition]]] = defaultdict(list)
        for number, file in enumerate(files):
            for definition in file.definitions:
                if len(definition.name) >= _MIN_NAME_CHARS:
                    self._by_name[definition.name].append((number, definition))
        self._groups = _codes(files, lambda file: file.group)
        self._regions = _codes(
            files, lambda file: (file.repo, _FAMILIES.get(file.language, file.language))
        )
        self._folders = _codes(files, lambda file: (file.repo, PurePosixPath(file.path).parent))
        self._trains: NDArray[np.bool_] = np.array([file.trains for file in files], dtype=bool)
        self._everywhere: NDArray[np.bool_] = np.ones(len(files), dtype=bool)
        self._seen: dict[int, NDArray[np.bool_]] = {}
        dated = sorted(
            (file.history.changed, number)
            for number, file in enumerate(files)
            if file.history.changed is not None
        )
        self._dated: NDArray[np.int32] = np.array([number for _, number in dated], dtype=np.int32)

    def target(self, number: int, hole: tuple[int, int]) -> Target:
        """Return the place of a hole in a file, by the file's number."""
        return Target(number, hole, self._files[number].trains)

    def text(self, candidate: Candidate) -> str:
        """Return the text of a candidate."""
        return self._files[candidate.number].text[candidate.start : candidate.end]

    def rankings(
        self, target: Target, *, prefix: str, suffix: str
    ) -> tuple[tuple[Candidate, ...], ...]:
        """Return four rankings: nearby definitions, BM25, the same folder, files changed last.

        The last are windows of the ten files of the repository and language that changed last
        before the hole was written, ranked as those of the folder are, by overlap.
        Only the text around the hole is asked about; the hole itself is never seen.
        """
        import numpy as np

        terms = query_terms(prefix, suffix)
        hits = self._windows.search(terms)
        owners = self._windows.owners[hits.windows]
        allowed = self._may_see(target, owners) & (
            self._regions[owners] == self._regions[target.number]
        )
        beside = allowed & (self._folders[owners] == self._folders[target.number])
        recent = allowed & np.isin(owners, self._changed_last(target))
        return (
            self._definitions(target, terms),
            self._best("bm25", hits, np.where(allowed, hits.scores, 0.0)),
            self._best("sibling", hits, np.where(beside, hits.overlaps, 0.0)),
            self._best("recent", hits, np.where(recent, hits.overlaps, 0.0)),
        )

    def distractor(self, target: Target, number: float) -> Candidate | None:
        """Return a window of a far file, picked by a number in [0, 1), or None."""
        import numpy as np

        total = len(self._windows.places)
        step = np.arange(_NUM_DISTRACTORS) * 7919
        for window in (int(number * total) + step) % max(total, 1):
            owner = int(self._windows.owners[window])
            is_far = self._folders[owner] != self._folders[target.number]
            if is_far and self._may_see(target, np.array([owner]))[0]:
                return Candidate("distractor", owner, *self._windows.places[window])
        return None

    def _may_see(self, target: Target, owners: NDArray[np.int32]) -> NDArray[np.bool_]:
        visible: NDArray[np.bool_] = self._groups[owners] != self._groups[target.number]
        visible &= owners != target.number
        visible &= self._seen_from(target)[owners]
        return visible & self._trains[owners] if target.trains else visible

    def _seen_from(self, target: Target) -> NDArray[np.bool_]:
        """Return which files stood in the parent of the commit whose lines the hole lies in."""
        import numpy as np

        commit = self._files[target.number].history.commit
        if commit is None:
            return self._everywhere
        if commit not in self._seen:
            self._seen[commit] = np.array(
                [file.history.is_seen_from(commit) for file in self._files], dtype=bool
            )
        return self._seen[commit]

    def _changed_last(self, target: Target) -> Sequence[int]:
        dated = self._dated[self._regions[self._dated] == self._regions[target.number]]
        return [int(number) for number in dated[self._may_see(target, dated)][:RECENT_FILES]]

    def _best(self, origin: str, hits: Hits, scores: NDArray[np.float64]) -> tuple[Candidate, ...]:
        import numpy as np

        order = np.lexsort((hits.windows, -scores))[:NEAREST]
        return tuple(
            Candidate(
                origin,
                int(self._windows.owners[hits.windows[place]]),
                *self._windows.places[hits.windows[place]],
            )
            for place in order
            if scores[place] > 0
        )

    def _definitions(self, target: Target, terms: Sequence[str]) -> tuple[Candidate, ...]:
        start, end = target.hole
        file = self._files[target.number]
        own = {item.name for item in file.definitions if item.end <= start or item.start >= end}
        imported = {number for place, number in file.links if not start <= place < end}
        near = {int(self._folders[number]) for number in imported if self._is_package(number)}
        near.add(int(self._folders[target.number]))
        found = []
        for distance, name in enumerate(terms):
            if name in self._by_name and name not in own:
                best = self._definition(name, target, imported, near)
                if best is not None:
                    found.append((best[0], distance, best[1]))
        return tuple(candidate for _, _, candidate in sorted(found, key=lambda item: item[:2]))[
            :NEAREST
        ]

    def _definition(
        self, name: str, target: Target, imported: set[int], near: set[int]
    ) -> tuple[int, Candidate] | None:
        import numpy as np

        places = self._by_name[name]
        numbers = np.fromiter((number for number, _ in places), dtype=np.int32, count=len(places))
        is_near = self._regions[numbers] == self._regions[target.number]
        if imported:
            is_near |= np.isin(numbers, list(imported))
        by_tier: dict[int, list[tuple[int, Definition]]] = defaultdict(list)
        for place in np.flatnonzero(is_near & self._may_see(target, numbers)):
            number, definition = places[place]
            tier = self._tier(number, imported, near)
            if self._is_telling(number, definition, tier):
                by_tier[tier].append(places[place])
        for tier in sorted(by_tier):
            if tier == _IMPORTED or len(by_tier[tier]) <= _MAX_NAMESAKES:
                return tier, self._piece(*by_tier[tier][0])
        return None

    def _tier(self, number: int, imported: set[int], near: set[int]) -> int:
        if number in imported:
            return _IMPORTED
        return _BESIDE if int(self._folders[number]) in near else _SAME_REPO

    def _is_telling(self, number: int, definition: Definition, tier: int) -> bool:
        name = definition.name
        is_word = name.isalpha() and name.islower()
        if not is_word:
            return True
        text = self._files[number].text
        is_top = definition.start == 0 or text[definition.start - 1] == "\n"
        return is_top and tier == _IMPORTED

    def _is_package(self, number: int) -> bool:
        return PurePosixPath(self._files[number].path).stem in {"__init__", "index", "mod", "lib"}

    def _piece(self, number: int, definition: Definition) -> Candidate:
        text = self._files[number].text
        start = text.rfind("\n", 0, definition.start) + 1
        end = definition.end
        if end - start > _MAX_ITEM_CHARS:
            end = max(text.rfind("\n", start, start + _MAX_ITEM_CHARS), start)
        following = text.find("\n", end)
        end = len(text) if following < 0 else following + 1
        return Candidate("definition", number, start, end)


def _codes(files: Sequence[Neighbour], key: Callable[[Neighbour], object]) -> NDArray[np.int32]:
    import numpy as np

    known: dict[object, int] = {}
    return np.array([known.setdefault(key(file), len(known)) for file in files], dtype=np.int32)
