"""What a quickstart does with the minutes that it is given."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from fim.config import load_settings
from fim.data.encode import EncodedSet
from fim.gathering import Examples
from fim.pipeline import Prepared
from fim.quickstart import flow
from fim.quickstart.sizing import FEWEST_HOLES
from fim.types import FimExample

HOLES = tuple(FimExample(f"a{number}", "b", "c") for number in range(480))


@pytest.fixture
def prepared() -> Prepared:
    settings = load_settings(preset="cpu", env={}).settings
    rows = EncodedSet(rows=tuple(range(64)), report=None)
    return Prepared(settings, None, None, Examples((), HOLES, {}), rows, rows)


def test_training_ends_in_time_and_looks_at_few_held_out_rows(prepared: Prepared) -> None:
    found = flow._with_minutes(prepared, 3.5)
    assert found.settings.train.max_minutes == 3.5
    assert found.eval_set.rows == tuple(range(0, 64, 4))
    assert found.train_set.rows == prepared.train_set.rows
    assert flow._with_minutes(prepared, -1).settings.train.max_minutes == flow.MIN_TRAINING_MINUTES
    assert flow._with_minutes(replace(prepared, eval_set=None), 3.5).eval_set is None


def test_a_fast_machine_scores_every_hole(prepared: Prepared) -> None:
    assert flow._with_affordable_holes(prepared, 0.1, 580.0) is prepared


def test_a_slow_machine_says_how_many_it_scores(
    prepared: Prepared, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="fim"):
        found = flow._with_affordable_holes(prepared, 30.0, 580.0)
    assert len(found.examples.held_out) == FEWEST_HOLES
    assert f"{FEWEST_HOLES} of 480 held-out holes" in caplog.text
    assert found.train_set is prepared.train_set
