from __future__ import annotations

from dataclasses import replace

import pytest

from fim.errors import AllTokensMaskedError, EmptyDatasetError
from fim.training import rows_fingerprint
from fim.training.rows import (
    RightPadder,
    answer_labels,
    check_rows,
    num_supervised,
    training_dataset,
)
from training_toys import END_ID, toy_row, toy_rows


def test_batches_are_padded_right_and_masked_by_position() -> None:
    batch = RightPadder(pad_id=END_ID)(
        [
            {"input_ids": [5, 6, END_ID], "labels": [-100, 6, END_ID]},
            {"input_ids": [7, END_ID], "labels": [-100, END_ID]},
        ]
    )
    assert batch["input_ids"].tolist() == [[5, 6, 1], [7, 1, 1]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch["labels"].tolist() == [[-100, 6, 1], [-100, 1, -100]]


def test_rows_reach_the_trainer_as_they_are() -> None:
    rows = toy_rows(3)
    dataset = training_dataset(rows)
    assert dataset.column_names == ["input_ids", "labels"]
    assert [tuple(each["input_ids"]) for each in dataset] == [row.input_ids for row in rows]
    assert [tuple(each["labels"]) for each in dataset] == [row.labels for row in rows]


def test_rows_without_labels_are_refused() -> None:
    good = toy_rows(2)
    check_rows(good)
    masked = replace(good[0], labels=(-100,) * len(good[0].labels))
    with pytest.raises(AllTokensMaskedError, match=r"2 of 4 held-out rows .* row 1"):
        check_rows([good[0], masked, good[1], masked], "held-out")
    first_only = replace(masked, labels=(5, *masked.labels[1:]))
    with pytest.raises(AllTokensMaskedError):
        check_rows([first_only])
    with pytest.raises(EmptyDatasetError):
        check_rows([])


def test_the_first_label_predicts_nothing() -> None:
    assert num_supervised([5, -100, 7, 8]) == 2
    assert num_supervised([]) == 0


def test_answer_labels_leave_the_prompt_out() -> None:
    row = toy_row([5, 6, 7], [8, 9], loss_on="all")
    assert answer_labels(row) == (-100, -100, -100, 8, 9, END_ID)


def test_the_fingerprint_follows_ids_labels_and_order() -> None:
    rows = toy_rows(4)
    same = rows_fingerprint(toy_rows(4))
    assert rows_fingerprint(rows) == same
    assert rows_fingerprint(rows[::-1]) != same
    assert rows_fingerprint([*rows[:3], replace(rows[3], labels=rows[3].input_ids)]) != same
    assert rows_fingerprint(rows[:3]) != same
