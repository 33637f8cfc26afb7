"""Which documents may be context: what each imports, resolved over all repositories.

A document's definitions lie in the spool; what is kept of it here is its place and, for each
import, the number of the document that it means.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING

from fim.corpus.imports import ModuleTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fim.corpus.spans import Span
    from fim.corpus.spool import SpoolPlace
    from fim.corpus.study import CutHoles, Placed

POOL_BYTES = 16_000_000
GUEST_BYTES = 4_000_000
RECENT_GUESTS = 32

_LINK = Struct("<ii")


@dataclass(frozen=True, slots=True)
class Member:
    """A document that may be context.

    Args:
        placed: The document and its side.
        facts: Where its definitions lie in the spool.
        packed_links: Where each import stands (characters), and the number of the document that it
            means, packed small: there is a member for each document of a build.
    """

    placed: Placed
    facts: SpoolPlace
    packed_links: bytes

    @property
    def links(self) -> tuple[tuple[int, int], ...]:
        """Return where each import stands, and the number of the document that it means."""
        return tuple((start, target) for start, target in _LINK.iter_unpack(self.packed_links))


@dataclass(frozen=True, slots=True)
class Pool:
    """Documents that may be context of one another, and the holes of each that became rows.

    Args:
        members: The documents; links are numbers in this pool. Those that came from other pools,
            because a document here imports them or because they changed last, stand at the end.
        holes: The holes of each; those of other pools have none here.
        num_absent: Links to documents that found no room.
    """

    members: tuple[Member, ...]
    holes: tuple[tuple[Span, ...], ...]
    num_absent: int = 0


class Library:
    """The documents that may be context, by their numbers among those that were cut."""

    def __init__(self) -> None:
        self._members: dict[int, Member] = {}
        self.num_in_part = 0

    @property
    def members(self) -> tuple[Member, ...]:
        """Return the documents in order."""
        return tuple(self._members.values())

    def add(self, number: int, placed: Placed, cut: CutHoles, modules: ModuleTable) -> None:
        """Take the next document in where context is wanted; count it where it is known in part."""
        self.num_in_part += cut.is_in_part
        if cut.facts is not None:
            links = modules.links(cut.imports, number)
            self._members[number] = Member(placed, cut.facts, _packed(links))

    def pools(self, holes: Mapping[str, tuple[Span, ...]]) -> Iterator[Pool]:
        """Yield pools of 16 MB of text, by repository and path, each with at most 4 MB of guests.

        Guests are the documents of other pools that changed last in the pool's repositories, and
        those that the pool's documents import, the most imported first.

        Args:
            holes: The holes that became rows, by document id.
        """
        recent = self._recent()
        pool: list[int] = []
        num_bytes = 0
        for number in sorted(self._members, key=self._order):
            size = self._members[number].placed.stored.num_bytes
            if pool and num_bytes + size > POOL_BYTES:
                yield self._pool(pool, holes, recent)
                pool, num_bytes = [], 0
            pool.append(number)
            num_bytes += size
        if pool:
            yield self._pool(pool, holes, recent)

    def _order(self, number: int) -> tuple[str, str]:
        stored = self._members[number].placed.stored
        return stored.key, stored.document.id

    def _recent(self) -> Mapping[str, Sequence[int]]:
        by_repo: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for number, member in self._members.items():
            history = member.placed.stored.history
            if history is not None and history.changed is not None:
                by_repo[member.placed.stored.document.repo].append((history.changed, number))
        return {
            repo: [number for _, number in sorted(found)[:RECENT_GUESTS]]
            for repo, found in by_repo.items()
        }

    def _pool(
        self,
        numbers: Sequence[int],
        holes: Mapping[str, tuple[Span, ...]],
        recent: Mapping[str, Sequence[int]],
    ) -> Pool:
        guests, num_absent = self._guests(numbers, recent)
        local = {number: place for place, number in enumerate((*numbers, *guests))}
        members = []
        for number in local:
            member = self._members[number]
            links = [(start, local[target]) for start, target in member.links if target in local]
            members.append(Member(member.placed, member.facts, _packed(links)))
        own = tuple(
            holes.get(self._members[number].placed.stored.document.id, ()) for number in numbers
        )
        return Pool(tuple(members), (*own, *((),) * len(guests)), num_absent)

    def _guests(
        self, numbers: Sequence[int], recent: Mapping[str, Sequence[int]]
    ) -> tuple[Sequence[int], int]:
        inside = set(numbers)
        wanted = Counter(
            target
            for number in numbers
            for target in {target for _, target in self._members[number].links}
            if target in self._members and target not in inside
        )
        repos = {self._members[number].placed.stored.document.repo for number in numbers}
        changed = [
            number
            for repo in sorted(repos)
            for number in recent.get(repo, ())
            if number not in inside
        ]
        ranked = sorted(wanted, key=lambda number: (-wanted[number], number))
        room = GUEST_BYTES
        guests = []
        num_absent = 0
        for number in dict.fromkeys((*changed, *ranked)):
            size = self._members[number].placed.stored.num_bytes
            if size <= room:
                guests.append(number)
                room -= size
            else:
                num_absent += wanted[number]
        return guests, num_absent


def module_table(placed: Sequence[Placed]) -> ModuleTable:
    """Return the table that finds the documents that imports mean."""
    documents = (item.stored.document for item in placed)
    return ModuleTable((item.repo, item.path, item.language) for item in documents)


def _packed(links: Sequence[tuple[int, int]]) -> bytes:
    return b"".join(_LINK.pack(*link) for link in links)
