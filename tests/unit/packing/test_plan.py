from __future__ import annotations

import logging

import pytest

from fim.packing import Packing, plan_packing
from fim.packing.trees import ONE_EACH
from packing_toys import document_rows, hole_row

ROWS = document_rows(6, 5, num_tokens=80)
LONE_ROWS = [hole_row(list(range(10, 50)), at, at + 2) for at in range(20, 30)]


@pytest.mark.parametrize(
    ("wanted", "name"), [("auto", "tree"), ("tree", "tree"), ("bfd", "bfd"), ("none", "none")]
)
def test_the_setting_decides_where_it_can(wanted: Packing, name: str) -> None:
    plan = plan_packing(ROWS, wanted, max_tokens=800, rows_per_step=8)
    assert plan.name == name
    assert (plan.token_gain > 1.3) == (name == "tree")
    assert plan.num_rows == len(ROWS)


def test_rows_that_share_nothing_are_packed_whole(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert plan_packing(LONE_ROWS, "auto", max_tokens=800, rows_per_step=8).name == "none"
        plan = plan_packing(LONE_ROWS, "tree", max_tokens=800, rows_per_step=8)
    assert (plan.name, plan.reason) == ("bfd", ONE_EACH)
    assert caplog.messages[0] == f"packing none: {ONE_EACH}"
    assert caplog.messages[1] == f"train.packing tree: bfd takes its place, since {ONE_EACH}"
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]


def test_an_obstacle_turns_packing_off_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    plan = plan_packing(ROWS, "auto", max_tokens=800, rows_per_step=8, obstacle="it may not be")
    assert (plan.name, plan.token_gain) == ("none", 1.0)
    assert caplog.messages == ["train.packing auto: none takes its place, since it may not be"]


def test_auto_leaves_trees_that_spare_next_to_nothing() -> None:
    text = list(range(10, 90)) * 3
    rows = [hole_row(text, at, at + 2, document="d") for at in (20, 22)] + LONE_ROWS * 20
    auto = plan_packing(rows, "auto", max_tokens=2000, rows_per_step=8)
    assert auto.name == "none"
    assert auto.reason == "trees would spare 1.00 times only"
    assert plan_packing(rows, "tree", max_tokens=2000, rows_per_step=8).name == "tree"


@pytest.mark.parametrize("rows_per_step", [1, 4, 7, 8, 100])
@pytest.mark.parametrize("wanted", ["none", "bfd", "tree"])
def test_every_row_is_in_one_step_and_steps_are_alike(wanted: Packing, rows_per_step: int) -> None:
    plan = plan_packing(ROWS, wanted, max_tokens=800, rows_per_step=rows_per_step)
    for epoch in range(3):
        steps = plan.steps(seed=1, epoch=epoch)
        assert len(steps) == plan.num_steps
        sizes = [sum(len(tree.rows) for tree in step) for step in steps]
        assert sum(sizes) == len(ROWS)
        assert min(sizes) >= 1
        assert max(sizes) <= 2.5 * rows_per_step
    assert plan.steps(seed=1, epoch=0) == plan.steps(seed=1, epoch=0)
    assert plan.num_steps == 1 or plan.steps(seed=1, epoch=0) != plan.steps(seed=1, epoch=1)


def test_packed_rows_hold_the_budget_and_every_row_of_the_step() -> None:
    for wanted, most in (("none", 1), ("bfd", 100), ("tree", 100)):
        plan = plan_packing(ROWS, wanted, max_tokens=300, rows_per_step=8)
        for step in plan.steps(seed=0, epoch=0):
            packed = plan.packed_rows(step, ROWS)
            there = sorted(piece.row for each in packed for piece in each.pieces)
            assert there == sorted(row for tree in step for row in tree.rows)
            assert all(each.num_tokens <= 300 for each in packed)
            assert all(each.num_rows <= most for each in packed)


def test_facts_say_what_the_manifest_and_a_dry_run_need() -> None:
    plan = plan_packing(ROWS, "tree", max_tokens=800, rows_per_step=8)
    facts = plan.facts()
    assert facts["packing"] == "tree"
    assert facts["token_gain"] == round(plan.token_gain, 3)
    assert facts["row_tokens"] == sum(len(row.input_ids) for row in ROWS)
    assert facts["steps"] == plan.num_steps
    assert facts["trees"] == sum(bool(tree.branches) for tree in plan.forest.trees)
    assert facts["single_rows"] == sum(not tree.branches for tree in plan.forest.trees)
