from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from fim.errors import MissingExtraError
from fim.runs import RunFolder
from fim.training import trackers
from training_toys import toy_loaded, toy_rows, toy_settings, toy_trainer


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return what TensorBoard's own reader finds in event files: figure -> (step, value)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder)).Reload()
    return {
        tag: [(each.step, each.value) for each in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_the_figures_of_the_run(learner: Path, tmp_path: Path) -> None:
    figures = [0.25, 0.5]
    settings = toy_settings(report_to="tensorboard", max_steps=4, eval_steps=2)
    result = toy_trainer(
        toy_loaded(learner),
        tmp_path / "run",
        settings=settings,
        eval_rows=toy_rows(4),
        measure_holes=lambda: {"exact_match": figures.pop(0)},
    ).train()
    found = scalars(tmp_path / "run" / "tensorboard")
    rows = RunFolder.open(tmp_path / "run").read_metrics()
    for tag, name in (
        ("train/loss", "loss"),
        ("train/learning_rate", "learning_rate"),
        ("train/grad_norm", "grad_norm"),
        ("train/tokens_per_second", "tokens_per_second"),
        ("train/supervised_tokens_per_second", "supervised_tokens_per_second"),
        ("train/holes_per_second", "holes_per_second"),
        ("eval/loss", "eval_loss"),
        ("eval/exact_match", "exact_match"),
    ):
        expected = [(row["step"], row[name]) for row in rows if name in row]
        assert [step for step, _ in found[tag]] == [step for step, _ in expected]
        values = [float(str(value)) for _, value in expected]
        assert [value for _, value in found[tag]] == pytest.approx(values, rel=1e-6)
    assert found["eval/loss"][-1][1] == pytest.approx(result.eval_loss)
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {"checkpoint-4"}


def test_a_tracker_that_is_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trackers.check_tracker("none")
    monkeypatch.setattr(trackers, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"report_to is wandb .* not installed") as missing:
        trackers.check_tracker("wandb")
    assert missing.value.hint == "pip install wandb, or FIM_TRAIN_REPORT_TO=none"
