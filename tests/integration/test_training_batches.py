"""However a step is cut into batches, it is the same step."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim.errors import InterruptedRunError
from fim.runs import RunFolder
from training_toys import (
    Interrupter,
    adapter_weights,
    is_same_adapter,
    toy_loaded,
    toy_row,
    toy_rows,
    toy_settings,
    toy_trainer,
)


def figures(run: Path) -> list[tuple[float, float]]:
    rows = RunFolder.open(run).read_metrics()
    return [
        (float(str(row["loss"])), float(str(row["grad_norm"]))) for row in rows if "loss" in row
    ]


def ragged_rows() -> list[object]:
    """Rows whose trained share differs much: a mean over batches would be off by far."""
    return [*toy_rows(12, longest=40), *(toy_row(range(2, 60), [7] * 20) for _ in range(4))]


WHOLE = {
    "max_steps": 1,
    "optim": "sgd",
    "learning_rate": 1.0,
    "max_grad_norm": 1e9,
    "group_by_length": False,
    "per_device_train_batch_size": 8,
    "packing": "none",
}


@pytest.fixture(scope="module")
def whole_steps(learner: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """The step in one padded batch: over the rows of packed steps, and over all."""
    found = {}
    for is_packed in (True, False):
        found[is_packed] = tmp_path_factory.mktemp("whole") / "run"
        rows = ragged_rows()[:8] if is_packed else ragged_rows()
        settings = toy_settings(**WHOLE)
        toy_trainer(toy_loaded(learner), found[is_packed], rows=rows, settings=settings).train()
    return found


@pytest.mark.parametrize(
    "changes",
    [
        {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 8},
        {"max_tokens_per_batch": 100},
        {"max_tokens_per_batch": 1},
        {"packing": "bfd"},
        {"packing": "bfd", "packing_tokens": 90},
    ],
    ids=["1 x 8", "token budget", "row by row", "padding-free", "padding-free within a budget"],
)
def test_the_same_rows_give_the_same_step(
    learner: Path, whole_steps: dict[bool, Path], tmp_path: Path, changes: dict[str, object]
) -> None:
    whole, run = whole_steps["packing" in changes], tmp_path / "run"
    rows = ragged_rows()[:8] if "packing" in changes else ragged_rows()
    settings = toy_settings(**{**WHOLE, **changes})
    toy_trainer(toy_loaded(learner), run, rows=rows, settings=settings).train()
    (expected,), (found,) = figures(whole), figures(run)
    assert found == pytest.approx(expected, rel=1e-4)
    one = adapter_weights(whole / "adapter")
    other = adapter_weights(run / "adapter")
    gap = max(float((one[name] - other[name]).norm()) for name in one)
    assert gap < 1e-4 * max(float(each.norm()) for each in one.values())


def test_a_run_with_a_token_budget_resumes_bit_for_bit(learner: Path, tmp_path: Path) -> None:
    settings = toy_settings(
        max_steps=-1, num_train_epochs=2, max_tokens_per_batch=60, packing="none"
    )
    rows = toy_rows(18)
    result = toy_trainer(
        toy_loaded(learner), tmp_path / "whole", rows=rows, settings=settings
    ).train()
    assert result.steps == 10
    stopping = toy_trainer(
        toy_loaded(learner),
        tmp_path / "parts",
        rows=rows,
        settings=settings,
        progress=Interrupter(7),
    )
    with pytest.raises(InterruptedRunError):
        stopping.train()
    toy_trainer(toy_loaded(learner), tmp_path / "parts", rows=rows, settings=settings).train("last")
    assert is_same_adapter(tmp_path / "whole", tmp_path / "parts")


def test_a_row_longer_than_any_default_length_is_trained_whole(
    learner: Path, tmp_path: Path
) -> None:
    row = toy_row([5] * 1500, [6, 7])
    settings = toy_settings(max_steps=1, per_device_train_batch_size=1, packing="none")
    trainer = toy_trainer(toy_loaded(learner), tmp_path / "run", rows=[row], settings=settings)
    result = trainer.train()
    holes = result.holes_per_second
    assert result.tokens_per_second / holes == pytest.approx(len(row.input_ids))
    assert result.supervised_tokens_per_second / holes == pytest.approx(3)
