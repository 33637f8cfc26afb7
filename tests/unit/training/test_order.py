from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.training.order import length_grouped_order, num_planned_steps, shuffled_order
from training_toys import toy_settings


def padded_share(lengths: list[int], order: list[int], batch_size: int) -> float:
    padded = 0
    for start in range(0, len(order), batch_size):
        batch = [lengths[row] for row in order[start : start + batch_size]]
        padded += max(batch) * len(batch)
    return 1 - sum(lengths) / padded


@given(
    st.lists(st.integers(1, 300), max_size=200),
    st.integers(1, 17),
    st.integers(0, 5),
    st.integers(0, 3),
)
def test_every_row_once_whatever_the_sizes(
    lengths: list[int], batch_size: int, seed: int, epoch: int
) -> None:
    order = length_grouped_order(lengths, batch_size=batch_size, seed=seed, epoch=epoch)
    assert sorted(order) == list(range(len(lengths)))
    assert sorted(shuffled_order(len(lengths), seed=seed, epoch=epoch)) == sorted(order)


def test_grouping_leaves_little_padding() -> None:
    generator = random.Random(1)
    lengths = [generator.randint(20, 260) for _ in range(1000)]
    grouped = length_grouped_order(lengths, batch_size=16, seed=3, epoch=0)
    shuffled = shuffled_order(1000, seed=3, epoch=0)
    assert padded_share(lengths, grouped, 16) < 0.03
    assert padded_share(lengths, shuffled, 16) > 0.3


def test_batches_come_in_no_order_of_length() -> None:
    lengths = list(range(1, 161))
    order = length_grouped_order(lengths, batch_size=16, seed=0, epoch=0)
    means = [sum(order[at : at + 16]) / 16 for at in range(0, 160, 16)]
    assert means != sorted(means)
    assert means != sorted(means, reverse=True)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    lengths = [5, 9, 3, 7, 7, 2, 8, 1] * 8
    first = length_grouped_order(lengths, batch_size=4, seed=1, epoch=0)
    assert first == length_grouped_order(lengths, batch_size=4, seed=1, epoch=0)
    assert first != length_grouped_order(lengths, batch_size=4, seed=1, epoch=1)
    assert first != length_grouped_order(lengths, batch_size=4, seed=2, epoch=0)


@pytest.mark.parametrize(
    ("rows", "batch", "accumulation", "epochs", "max_steps", "expected"),
    [
        (16, 4, 1, 1.0, -1, 4),
        (17, 4, 2, 1.0, -1, 3),
        (17, 4, 2, 2.5, -1, 8),
        (17, 4, 2, 2.5, 7, 7),
        (1, 8, 8, 1.0, -1, 1),
    ],
)
def test_planned_steps(
    rows: int, batch: int, accumulation: int, epochs: float, max_steps: int, expected: int
) -> None:
    settings = toy_settings(
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=accumulation,
        num_train_epochs=epochs,
        max_steps=max_steps,
    )
    assert num_planned_steps(rows, settings) == expected
