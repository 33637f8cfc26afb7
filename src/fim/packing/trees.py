"""Rows of one document as trees: the deepest row whole, the others from where they part with it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fim.packing.layout import Branch, Tree
from fim.types import SegmentKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.types import EncodedExample

MIN_SHARED_TOKENS = 16
MAX_GROUP_ROWS = 128
SUFFIX_FIRST = "the format puts the suffix before the prefix, so holes share no beginning"
ONE_EACH = "no two rows belong to the same document and context"
NOTHING_SHARED = "rows of one document begin at different places, so they share too few ids"


@dataclass(frozen=True, slots=True)
class Forest:
    """All rows as trees.

    Args:
        trees: Every row is in exactly one of them.
        num_row_tokens: Ids of all rows, each counted alone.
        reason: Why no row hangs from another; empty where some do.
    """

    trees: tuple[Tree, ...]
    num_row_tokens: int
    reason: str = ""

    @property
    def num_tokens(self) -> int:
        """Ids that the trees take."""
        return sum(tree.num_tokens for tree in self.trees)

    @property
    def token_gain(self) -> float:
        """Ids of the rows for each id of the trees."""
        return self.num_row_tokens / self.num_tokens if self.trees else 1.0


def single_rows(rows: Sequence[EncodedExample], reason: str = "") -> Forest:
    """Return every row as a tree without branches."""
    lengths = [len(row.input_ids) for row in rows]
    trees = tuple(Tree(at, (), length) for at, length in enumerate(lengths))
    return Forest(trees, sum(lengths), reason)


def plant_trees(rows: Sequence[EncodedExample], *, max_tokens: int, max_rows: int) -> Forest:
    """Return rows as trees, those of a document and context together as far as they share ids.

    Args:
        rows: Encoded rows.
        max_tokens: Most ids in a tree; a document with more becomes several trees.
        max_rows: Most rows in a tree.
    """
    if not any(_is_prefix_first(row) for row in rows):
        return single_rows(rows, SUFFIX_FIRST)
    groups: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for at, row in enumerate(rows):
        groups[_group_key(at, row)].append(at)
    if len(groups) == len(rows):
        return single_rows(rows, ONE_EACH)
    trees: list[Tree] = []
    for members in groups.values():
        for start in range(0, len(members), MAX_GROUP_ROWS):
            part = members[start : start + MAX_GROUP_ROWS]
            trees.extend(_grow(part, rows, max_tokens, max_rows))
    trees.sort(key=lambda tree: min(tree.rows))
    reason = "" if any(tree.branches for tree in trees) else NOTHING_SHARED
    return Forest(tuple(trees), sum(len(row.input_ids) for row in rows), reason)


def shared_length(first: np.ndarray, second: np.ndarray) -> int:
    """Return how many ids two rows have in common at their start."""
    length = min(len(first), len(second))
    differs = np.flatnonzero(first[:length] != second[:length])
    return int(differs[0]) if len(differs) else length


def _is_prefix_first(row: EncodedExample) -> bool:
    """Tell whether the prefix stands before the suffix; rows without segments may."""
    for segment in row.segments:
        if segment.kind is SegmentKind.PREFIX:
            return True
        if segment.kind is SegmentKind.SUFFIX:
            return False
    return True


def _group_key(at: int, row: EncodedExample) -> tuple[object, ...]:
    """Return what rows of a tree have in common."""
    if not row.example.document_id or not _is_prefix_first(row):
        return ("row", at)
    shown = (each.ids for each in row.segments if each.kind is SegmentKind.CONTEXT)
    return ("document", row.example.document_id, *shown)


def _grow(
    members: Sequence[int], rows: Sequence[EncodedExample], max_tokens: int, max_rows: int
) -> list[Tree]:
    """Return the trees of a group: again and again the row that most others share most with."""
    ids = [np.asarray(rows[at].input_ids) for at in members]
    shared = _shared_table(ids)
    left = np.ones(len(members), dtype=bool)
    trees = []
    while left.any():
        gains = np.where(left, (shared * left).sum(axis=1), -1)
        trunk = int(np.argmax(gains))
        left[trunk] = False
        num_tokens = len(ids[trunk])
        branches: list[Branch] = []
        for other in np.argsort(-shared[trunk], kind="stable"):
            common = min(int(shared[trunk, other]), len(ids[other]) - 1)
            added = len(ids[other]) - common
            has_room = num_tokens + added <= max_tokens and len(branches) + 1 < max_rows
            if left[other] and has_room and common >= MIN_SHARED_TOKENS:
                branches.append(Branch(members[other], common))
                num_tokens += added
                left[other] = False
        branches.sort(key=lambda branch: (branch.shared, branch.row))
        trees.append(Tree(members[trunk], tuple(branches), num_tokens))
    return trees


def _shared_table(ids: Sequence[np.ndarray]) -> np.ndarray:
    """Return the shared lengths of all pairs, 0 on the diagonal."""
    table = np.zeros((len(ids), len(ids)), dtype=np.int64)
    for one in range(len(ids)):
        for other in range(one):
            table[one, other] = table[other, one] = shared_length(ids[one], ids[other])
    return table
