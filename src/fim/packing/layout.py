"""How rows stand in a packed row: whole rows, and branches that hang from the ids of one.

A packed row is a list of pieces. A *trunk* is a whole training row. A *branch* is the rest of
another row after the ids that it shares with its trunk: its tokens see those shared ids and
themselves, at the positions that they have in their own row. So every token sees exactly the ids
that it would see if its row stood alone, whatever the text and wherever it was cut.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fim.types import IGNORED_LABEL, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fim.types import EncodedExample


@dataclass(frozen=True, slots=True)
class Branch:
    """A row that hangs from a trunk.

    Args:
        row: Index of the row.
        shared: Ids at its start that are the trunk's; less than the row has.
    """

    row: int
    shared: int


@dataclass(frozen=True, slots=True)
class Tree:
    """A whole row and the rows that hang from it; without branches it is a row alone.

    Args:
        trunk: Index of the row that is laid out whole.
        branches: The other rows.
        num_tokens: Ids that the tree takes in a packed row.
    """

    trunk: int
    branches: tuple[Branch, ...]
    num_tokens: int

    @property
    def rows(self) -> tuple[int, ...]:
        """Indices of all rows, the trunk's first."""
        return (self.trunk, *(branch.row for branch in self.branches))


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a packed row.

    Args:
        row: Index of the row that it comes from.
        start: Its first place in the packed row.
        length: Its ids.
        trunk_start: First place of its trunk; its own start where it is a trunk.
        shared: Ids of the trunk that it sees; 0 where it is a trunk.
    """

    row: int
    start: int
    length: int
    trunk_start: int
    shared: int

    @property
    def stop(self) -> int:
        """The place after its last."""
        return self.start + self.length

    def place(self, position: int) -> int:
        """Return where in the packed row a position of the own row stands."""
        if position < self.shared:
            return self.trunk_start + position
        return self.start + position - self.shared


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Several rows in one sequence that nothing leaks through.

    Args:
        input_ids: Ids ``[T]``.
        positions: Position of each id in its own row ``[T]``.
        targets: ``[3, N]``: the place whose hidden state predicts, the id that it should predict,
            and for how many rows that counts. Labels of a sequence cannot say this, since a place
            of a trunk may predict another id in every branch.
        pieces: The stretches in order: what attention is computed by, and where each comes from.
        plain: ``[2, M]``: a place in the text before the cursor of a trunk, and the id after it;
            empty where that text is not trained.
    """

    input_ids: np.ndarray
    positions: np.ndarray
    targets: np.ndarray
    pieces: tuple[Piece, ...]
    plain: np.ndarray

    @property
    def num_tokens(self) -> int:
        """Ids in the packed row."""
        return len(self.input_ids)

    @property
    def num_rows(self) -> int:
        """Rows that were packed."""
        return len(self.pieces)

    @property
    def num_supervised(self) -> int:
        """Labels of all rows, those that several rows share counted for each."""
        return int(self.targets[2].sum())

    @property
    def longest(self) -> int:
        """Length of the longest row in it."""
        return max(piece.shared + piece.length for piece in self.pieces)


def lay_out(
    trees: Sequence[Tree], rows: Sequence[EncodedExample], *, has_plain: bool = False
) -> PackedRow:
    """Return trees one after the other in one packed row.

    Args:
        trees: What stands in it.
        rows: All rows.
        has_plain: Train the text before the cursor of trunks as plain text too.
    """
    pieces: list[Piece] = []
    for tree in trees:
        pieces.extend(_pieces(tree, rows, pieces[-1].stop if pieces else 0))
    ids = [np.asarray(rows[each.row].input_ids[each.shared :], dtype=np.int64) for each in pieces]
    positions = [np.arange(each.shared, each.shared + each.length) for each in pieces]
    return PackedRow(
        input_ids=np.concatenate(ids),
        positions=np.concatenate(positions),
        targets=_targets(pieces, rows),
        pieces=tuple(pieces),
        plain=_plain(pieces if has_plain else (), rows),
    )


def _pieces(tree: Tree, rows: Sequence[EncodedExample], start: int) -> Iterator[Piece]:
    """Yield the pieces of a tree from a place on."""
    at = start
    for row, shared in ((tree.trunk, 0), *((each.row, each.shared) for each in tree.branches)):
        length = len(rows[row].input_ids) - shared
        yield Piece(row, at, length, start, shared)
        at += length


def _plain(pieces: Sequence[Piece], rows: Sequence[EncodedExample]) -> np.ndarray:
    """Return what follows what in the prefix of trunks, where the row does not train it itself."""
    table: list[tuple[int, int]] = []
    for piece in pieces:
        if piece.shared:
            continue
        row, position = rows[piece.row], 0
        for segment in row.segments:
            if segment.kind is SegmentKind.PREFIX:
                after = range(position + 1, position + len(segment.ids))
                untrained = [at for at in after if row.labels[at] == IGNORED_LABEL]
                table += [(piece.place(at - 1), row.input_ids[at]) for at in untrained]
            position += len(segment.ids)
    return np.asarray(table, dtype=np.int64).reshape(-1, 2).T


def _targets(pieces: Sequence[Piece], rows: Sequence[EncodedExample]) -> np.ndarray:
    """Return what is predicted where and how often, ordered by place."""
    counts: dict[tuple[int, int], int] = {}
    for piece in pieces:
        labels = rows[piece.row].labels
        for position in range(1, len(labels)):
            if labels[position] != IGNORED_LABEL:
                key = (piece.place(position - 1), labels[position])
                counts[key] = counts.get(key, 0) + 1
    table = [(place, target, count) for (place, target), count in sorted(counts.items())]
    return np.asarray(table, dtype=np.int64).reshape(-1, 3).T
