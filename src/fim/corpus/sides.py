"""Which side a document stands on, by strategy; near-duplicates and forks stay together."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.dedup import UnionFind
from fim.corpus.hashing import stable_fraction
from fim.corpus.reasons import DropReason
from fim.corpus.splits import HELD_OUT, TRAIN, assign_sides
from fim.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.config import CorpusSettings
    from fim.corpus.spool import StoredDocument

FORK_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Sides:
    """Where documents stand.

    Args:
        leaders: Index of the first document of each document's group.
        splits: Side of each document.
        reasons: Why a document gives no rows; None where it may.
    """

    leaders: tuple[int, ...]
    splits: tuple[str, ...]
    reasons: tuple[DropReason | None, ...]


def join_versions(documents: Sequence[StoredDocument], leaders: Sequence[int]) -> tuple[int, ...]:
    """Return the groups with the versions of each file, renamed ones too, joined into one."""
    groups = UnionFind(len(documents))
    families: dict[tuple[str, str], int] = {}
    for index, stored in enumerate(documents):
        groups.union(index, leaders[index])
        for family in {stored.family or stored.document.path, stored.document.path}:
            first = families.setdefault((stored.document.repo, family), index)
            groups.union(index, first)
    return groups.leaders()


def choose_sides(
    documents: Sequence[StoredDocument], leaders: Sequence[int], settings: CorpusSettings
) -> Sides:
    """Return the side of each document by the strategy of the settings.

    With ``group`` a whole group goes to the side that its key and the seed say; a group that is
    read for context alone counts as training text. With the other
    strategies some documents are marked as held out; a group with a marked one is held out as a
    whole, and its other members give no rows on either side, each counted.

    Raises:
        InvalidSettingError: The strategy lacks what it needs, or leaves a side empty.
    """
    groups = join_versions(documents, leaders)
    if settings.split == "group":
        keys = [stored.key for stored in documents]
        with_holes = [
            group for group, stored in zip(groups, documents, strict=True) if stored.lines != ()
        ]
        chosen = assign_sides(
            keys, with_holes, held_out_fraction=settings.held_out_fraction, seed=settings.seed
        )
        sides = dict(zip(with_holes, chosen, strict=True))
        splits = tuple(sides.get(group, TRAIN) for group in groups)
        return Sides(groups, splits, (None,) * len(splits))
    marked = _marked(documents, groups, settings)
    _require_both_sides(marked, settings)
    held_out = {groups[index] for index, is_marked in enumerate(marked) if is_marked}
    splits = tuple(HELD_OUT if group in held_out else TRAIN for group in groups)
    reasons = tuple(
        DropReason.LIKE_HELD_OUT if split == HELD_OUT and not is_marked else None
        for split, is_marked in zip(splits, marked, strict=True)
    )
    return Sides(groups, splits, reasons)


def _marked(
    documents: Sequence[StoredDocument], groups: Sequence[int], settings: CorpusSettings
) -> tuple[bool, ...]:
    if settings.split == "time":
        return tuple(bool(stored.lines) for stored in documents)
    if settings.split == "repo":
        held_out = _held_out_repos(documents, groups, settings)
        return tuple(stored.document.repo in held_out for stored in documents)
    prefixes = tuple(prefix.removeprefix("./").strip("/") for prefix in settings.held_out_paths)
    if not prefixes:
        raise InvalidSettingError(
            "corpus.split is path-prefix and corpus.held_out_paths names no path, "
            "so nothing would be held out",
            hint="fim data build PATH... --out DIR --split path-prefix --held-out-path src/billing",
        )
    return tuple(
        _is_below(stored.document.path, prefixes) or _is_below(stored.key, prefixes)
        for stored in documents
    )


def _is_below(path: str, prefixes: Sequence[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}/") for prefix in prefixes)


def _held_out_repos(
    documents: Sequence[StoredDocument], groups: Sequence[int], settings: CorpusSettings
) -> frozenset[str]:
    names = sorted({stored.document.repo for stored in documents})
    if settings.held_out_repos:
        return frozenset(settings.held_out_repos)
    families = _forks(documents, groups, names)
    by_leader: dict[int, list[str]] = defaultdict(list)
    for name, leader in zip(names, families, strict=True):
        by_leader[leader].append(name)
    ranked = sorted(by_leader, key=lambda leader: stable_fraction(settings.seed, names[leader]))
    number = max(1, round(settings.held_out_fraction * len(ranked)))
    chosen = ranked[: min(number, len(ranked) - 1)]
    return frozenset(name for leader in chosen for name in by_leader[leader])


def _forks(
    documents: Sequence[StoredDocument], groups: Sequence[int], names: Sequence[str]
) -> tuple[int, ...]:
    """Join the repositories of which one shares half of its files or more with another."""
    sizes = Counter(stored.document.repo for stored in documents)
    members: dict[int, set[str]] = defaultdict(set)
    for stored, group in zip(documents, groups, strict=True):
        members[group].add(stored.document.repo)
    shared: Counter[tuple[str, str]] = Counter()
    for stored, group in zip(documents, groups, strict=True):
        own = stored.document.repo
        shared.update((own, other) for other in members[group] if other != own)
    joined = UnionFind(len(names))
    for (own, other), number in shared.items():
        if number >= FORK_SHARE * sizes[own]:
            joined.union(names.index(own), names.index(other))
    return joined.leaders()


def _require_both_sides(marked: Sequence[bool], settings: CorpusSettings) -> None:
    if any(marked) and not all(marked):
        return
    side = "training" if marked and all(marked) else "held-out"
    needs = {
        "repo": "two repositories that are no forks of each other, or --held-out-repo NAME",
        "path-prefix": "a path that some files, not all, lie below",
        "time": "files with lines added since corpus.split_commit, and files without",
    }
    raise InvalidSettingError(
        f"corpus.split is {settings.split} and leaves the {side} side empty "
        f"({sum(marked)} of {len(marked)} files are held out); it needs {needs[settings.split]}",
        hint="change the path, the repository or the commit, or leave the default --split group",
    )
