from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from fim.training.packed import COUNTS_KEY, PACKED_KEY
from fim.training.rows import RightPadder
from fim.training.token_budget import BudgetCollator, token_batches
from training_toys import toy_rows


@given(
    lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40),
    max_tokens=st.integers(1, 200),
)
def test_every_row_once_and_no_batch_over_the_budget(lengths: list[int], max_tokens: int) -> None:
    batches = token_batches(lengths, range(len(lengths)), max_tokens)
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    for batch in batches:
        padded = len(batch) * max(lengths[row] for row in batch)
        assert padded <= max_tokens or len(batch) == 1


def made(rows_per_step: int = 6, max_tokens: int = 60) -> BudgetCollator:
    return BudgetCollator(
        toy_rows(16),
        rows_per_step=rows_per_step,
        max_tokens=max_tokens,
        padder=RightPadder(0),
        seed=3,
    )


def test_a_step_holds_its_rows_in_bounded_batches() -> None:
    collator = made()
    assert len(collator) == 3
    rows = toy_rows(16)
    seen: list[int] = []
    for step in range(3):
        batch = collator([{"step": step}])
        inputs = batch[PACKED_KEY]
        assert all(each["input_ids"].numel() <= 60 for each in inputs)
        seen += [int(each["attention_mask"].sum()) for each in inputs]
        counts = batch[COUNTS_KEY]
        assert counts[0] == sum(len(each["input_ids"]) for each in inputs)
        assert counts[1] == sum(int(each["attention_mask"].sum()) for each in inputs)
        assert counts[2] == sum(int((each["labels"][:, 1:] != -100).sum()) for each in inputs)
    assert sum(seen) == sum(len(row.input_ids) for row in rows)


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    one, other = made(), made()
    random.random()
    first = one([{"step": 0}])[PACKED_KEY][0]["input_ids"]
    assert first.equal(other([{"step": 0}])[PACKED_KEY][0]["input_ids"])
    other.set_epoch(1)
    assert not first.equal(other([{"step": 0}])[PACKED_KEY][0]["input_ids"])
    other.set_epoch(0)
    assert first.equal(other([{"step": 0}])[PACKED_KEY][0]["input_ids"])
