"""Held-out holes that are completed while a run trains, on a small model with a real tokenizer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fim.config import load_settings
from fim.evaluation import Contestant, evaluate
from fim.evaluation.held_out_holes import MEASURED, sample_holes
from fim.pipeline import make_completer, run_training
from pipeline_toys import environment, write_rows

GREEDY = {"FIM_EVAL_MAX_NEW_TOKENS": "8", "FIM_INFER_TEMPERATURE": "0.9"}


@pytest.mark.parametrize(
    "more",
    [
        {"FIM_TRAIN_PACKING": "bfd", "FIM_LORA_GRADIENT_CHECKPOINTING": "true"},
        {"FIM_MODEL_DTYPE": "bfloat16", "FIM_DATA_ENABLE_RESPONSE_MASKING": "false"},
    ],
    ids=["packed and checkpointed", "bfloat16"],
)
def test_figures_on_the_way_are_those_of_an_evaluation_afterwards(
    tiny_model: Path, tmp_path: Path, more: dict[str, str]
) -> None:
    env = environment(
        tiny_model,
        write_rows(tmp_path / "rows.jsonl"),
        **GREEDY,
        FIM_TRAIN_EVAL_GENERATION_HOLES="3",
        FIM_TRAIN_BEST_METRIC="nll_per_token",
        FIM_TRAIN_LEARNING_RATE="0.02",
        **more,
    )
    resolved = load_settings(env=env, cwd=tmp_path)
    outcome = run_training(resolved, out=tmp_path / "run")
    measured = [row for row in outcome.run.read_metrics() if "nll_per_token" in row]
    assert [row["step"] for row in measured] == [2, 4]
    assert all({*MEASURED, "eval_loss", "eval_seconds"} <= row.keys() for row in measured)
    best = min(measured, key=lambda row: float(str(row["nll_per_token"])))
    result = outcome.result
    assert result.kept_step == best["step"]
    assert {name: best[name] for name in result.held_out} == result.held_out
    assert (outcome.run.plots / "held_out.svg").read_text().startswith("<svg")
    summary = json.loads(outcome.run.summary.read_text())["training"]
    assert (summary["kept_step"], summary["best_metric"]) == (best["step"], "nll_per_token")

    prepared = outcome.prepared
    holes = sample_holes(
        prepared.examples.held_out, prepared.encoder, 3, seed=resolved.settings.eval.seed
    )
    greedy = load_settings(
        env={**env, "FIM_INFER_TEMPERATURE": "0", "FIM_INFER_MAX_NEW_TOKENS": "8"}, cwd=tmp_path
    )
    completer = make_completer(greedy, adapter=outcome.run.adapter)
    found = evaluate(Contestant("tuned", completer, scorer=completer), holes).metrics
    tolerance = 2e-2 if "FIM_MODEL_DTYPE" in more else 1e-4
    for name in MEASURED:
        assert found[name] == pytest.approx(result.held_out[name], abs=tolerance)


def test_no_hole_is_completed_by_default_and_the_sample_is_seeded(
    tiny_model: Path, tmp_path: Path
) -> None:
    rows = write_rows(tmp_path / "rows.jsonl", 120)
    env = environment(tiny_model, rows, FIM_TRAIN_MAX_STEPS="1")
    outcome = run_training(load_settings(env=env, cwd=tmp_path), out=tmp_path / "run")
    assert set(outcome.result.held_out) == {"eval_loss"}
    assert outcome.result.best_metric == "none"
    assert not (outcome.run.plots / "held_out.svg").exists()
    held_out, encoder = outcome.prepared.examples.held_out, outcome.prepared.encoder
    first = sample_holes(held_out, encoder, 2, seed=1)
    assert first == sample_holes(held_out, encoder, 2, seed=1)
    assert len(first) == 2
    assert any(first != sample_holes(held_out, encoder, 2, seed=seed) for seed in range(2, 6))
    assert len(sample_holes(held_out, encoder, 10_000, seed=1)) == len(held_out)
    long = [replace(example, middle="word " * 5000) for example in held_out]
    assert sample_holes(long, encoder, 3, seed=1) == []
