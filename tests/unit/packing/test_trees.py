from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fim.packing import Branch, PackedRow, Tree, lay_out, plant_trees, single_rows
from fim.packing.trees import NOTHING_SHARED, ONE_EACH, SUFFIX_FIRST, shared_length
from fim.types import EncodedSegment, SegmentKind
from packing_toys import END, document_rows, hole_row

TEXT = list(range(10, 50))


def seen_by(packed: PackedRow, number: int) -> list[int]:
    piece = packed.pieces[number]
    trunk = packed.input_ids[piece.trunk_start : piece.trunk_start + piece.shared]
    return [*trunk, *packed.input_ids[piece.start : piece.stop]]


def test_a_branch_sees_exactly_the_ids_and_positions_of_its_own_row() -> None:
    rows = document_rows(3, 6, num_tokens=90)
    forest = plant_trees(rows, max_tokens=10_000, max_rows=100)
    packed = lay_out(forest.trees, rows)
    assert packed.num_rows == len(rows)
    assert packed.num_tokens == forest.num_tokens < forest.num_row_tokens
    for number, piece in enumerate(packed.pieces):
        row = rows[piece.row]
        assert tuple(seen_by(packed, number)) == row.input_ids
        places = [piece.place(position) for position in range(len(row.input_ids))]
        assert packed.input_ids[places].tolist() == list(row.input_ids)
        assert packed.positions[places].tolist() == list(range(len(row.input_ids)))
    assert packed.longest == max(len(row.input_ids) for row in rows)


def test_the_deepest_hole_is_the_trunk_and_branches_are_ordered_by_cut() -> None:
    rows = [hole_row(TEXT, cut, cut + 2, document="d") for cut in (22, 35, 28)]
    (tree,) = plant_trees(rows, max_tokens=1000, max_rows=9).trees
    assert tree.trunk == 1
    assert tree.branches == (Branch(0, 23), Branch(2, 29))
    assert tree.rows == (1, 0, 2)
    assert tree.num_tokens == len(lay_out([tree], rows).input_ids)


def test_targets_count_every_label_of_every_row() -> None:
    rows = document_rows(2, 5, loss_on="all")
    packed = lay_out(plant_trees(rows, max_tokens=1000, max_rows=9).trees, rows)
    assert packed.num_supervised == sum(len(row.labels) - 1 for row in rows)
    assert packed.targets.shape[1] < packed.num_supervised
    assert packed.targets[2].max() > 1


def test_targets_of_a_row_alone_are_its_labels() -> None:
    row = hole_row(TEXT, 20, 23)
    packed = lay_out(single_rows([row]).trees, [row])
    middle = [*TEXT[20:23], END]
    assert packed.targets[1].tolist() == middle
    first = row.prompt_length - 1
    assert packed.targets[0].tolist() == list(range(first, first + len(middle)))
    assert packed.targets[2].tolist() == [1] * len(middle)


def test_a_document_that_does_not_fit_becomes_several_trees() -> None:
    rows = document_rows(1, 12, num_tokens=80)
    forest = plant_trees(rows, max_tokens=200, max_rows=100)
    assert len(forest.trees) > 1
    assert all(tree.num_tokens <= 200 for tree in forest.trees)
    few = plant_trees(rows, max_tokens=10_000, max_rows=3)
    assert max(len(tree.rows) for tree in few.trees) == 3
    assert sorted(row for tree in few.trees for row in tree.rows) == list(range(12))


def test_equal_rows_still_leave_a_branch_an_id_of_its_own() -> None:
    rows = [hole_row(TEXT, 30, 33, document="d")] * 2
    (tree,) = plant_trees(rows, max_tokens=1000, max_rows=9).trees
    assert tree.branches == (Branch(1, len(rows[0].input_ids) - 1),)


def test_rows_of_other_documents_and_contexts_share_nothing() -> None:
    first = hole_row(TEXT, 30, 33, document="d")
    shown = EncodedSegment(SegmentKind.CONTEXT, "x", (7, 8), trained=False)
    other = replace(first, segments=(shown, *first.segments))
    assert plant_trees([first, other], max_tokens=1000, max_rows=9).reason == ONE_EACH
    elsewhere = hole_row(TEXT, 30, 33, document="e")
    assert plant_trees([first, elsewhere], max_tokens=1000, max_rows=9).reason == ONE_EACH
    nameless = hole_row(TEXT, 30, 33)
    assert plant_trees([nameless, nameless], max_tokens=1000, max_rows=9).reason == ONE_EACH


def test_rows_that_begin_elsewhere_share_too_little() -> None:
    rows = [hole_row(TEXT, 30, 33, begin=at, document="d") for at in (0, 5)]
    forest = plant_trees(rows, max_tokens=1000, max_rows=9)
    assert (forest.reason, forest.token_gain) == (NOTHING_SHARED, 1.0)


def test_a_format_with_the_suffix_first_does_not_qualify() -> None:
    rows = [hole_row(TEXT, at, 38, document="d", is_suffix_first=True) for at in (30, 34)]
    assert plant_trees(rows, max_tokens=1000, max_rows=9).reason == SUFFIX_FIRST


def test_rows_without_segments_qualify_by_their_ids() -> None:
    rows = [replace(hole_row(TEXT, at, 38, document="d"), segments=()) for at in (30, 34)]
    assert plant_trees(rows, max_tokens=1000, max_rows=9).token_gain > 1.2


@pytest.mark.parametrize(
    ("one", "other", "length"), [([1, 2, 3], [1, 2, 4], 2), ([1, 2], [1, 2, 3], 2), ([], [1], 0)]
)
def test_the_shared_length(one: list[int], other: list[int], length: int) -> None:
    assert shared_length(np.asarray(one, dtype=int), np.asarray(other, dtype=int)) == length


def test_an_empty_forest_gains_nothing() -> None:
    assert single_rows([]).token_gain == 1.0
    assert Tree(0, (), 3).rows == (0,)
