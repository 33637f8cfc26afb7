from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from transformers import (
    LlamaConfig,
    MellumConfig,
    MistralConfig,
    Olmo3Config,
    PretrainedConfig,
    Qwen2Config,
    Qwen3_5Config,
    Qwen3Config,
    Qwen3NextConfig,
)

from fim.errors import ConflictingSettingsError, PackingLeakError
from fim.packing import lay_out, plan_packing
from fim.runs import RunFolder
from fim.runs.writing import read_json
from fim.training import packing_check, planned_packing
from fim.training.flex import FLEX_NAME, flex_attention_on, flex_mask
from fim.training.loss import PLAIN_ARGUMENT, base_model
from fim.training.packed import COUNTS_KEY, PACKED_KEY, WEIGHT_KEY, StepCollator
from fim.training.packing_check import (
    attention_limit,
    choose_packing,
    packed_attention,
    packing_obstacle,
)
from fim.training.pieces import ATTENTION_NAME
from packing_toys import document_rows
from training_toys import ManualClock, toy_loaded, toy_settings, toy_trainer

if TYPE_CHECKING:
    import torch

ROWS = document_rows(4, 5, num_tokens=50)
HELD_OUT = document_rows(1, 4, num_tokens=50, seed=9)
WHOLE_STEP = {
    "per_device_train_batch_size": 20,
    "max_steps": 1,
    "optim": "sgd",
    "warmup_ratio": 0.0,
    "learning_rate": 1.0,
    "max_grad_norm": 1e9,
}


def adapter(run: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run / "adapter" / "adapter_model.safetensors")


def difference(one: Path, other: Path) -> float:
    first, second = adapter(one), adapter(other)
    assert first.keys() == second.keys()
    gaps = [float((first[name] - second[name]).norm()) for name in first]
    return max(gaps) / max(float(each.norm()) for each in first.values())


def step_once(learner: Path, run: Path, **changes: object) -> Path:
    """Take one large step over all rows and return the run."""
    settings = toy_settings(**{**WHOLE_STEP, **changes})
    toy_trainer(toy_loaded(learner), run, rows=ROWS, settings=settings).train()
    return run


@pytest.fixture(scope="module")
def plain_steps(learner: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The step without packing: in one batch, and accumulated over ten."""
    folder = tmp_path_factory.mktemp("plain")
    small = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 10}
    return (
        step_once(learner, folder / "whole", packing="none"),
        step_once(learner, folder / "accumulated", packing="none", **small),
    )


@pytest.mark.parametrize("packing", ["bfd", "tree"])
@pytest.mark.parametrize("tokens", [None, 150])
def test_a_packed_step_changes_the_adapter_as_its_rows_one_by_one(
    learner: Path,
    plain_steps: tuple[Path, Path],
    tmp_path: Path,
    packing: str,
    tokens: int | None,
) -> None:
    run = step_once(learner, tmp_path / "run", packing=packing, packing_tokens=tokens)
    for plain in plain_steps:
        assert difference(plain, run) < 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_trees_train_and_are_told_about(
    learner: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, *, checkpointing: bool
) -> None:
    loaded = toy_loaded(learner, gradient_checkpointing=checkpointing)
    kept = base_model(loaded.model).config._attn_implementation
    settings = toy_settings(max_steps=-1, num_train_epochs=3.0, eval_steps=3)
    with caplog.at_level(logging.INFO, logger="fim"):
        result = toy_trainer(
            loaded,
            tmp_path / "run",
            rows=ROWS,
            eval_rows=HELD_OUT,
            settings=settings,
            clock=ManualClock(1.0),
        ).train()
    assert result.packing == "tree"
    assert result.token_gain > 1.2
    assert result.steps == 15
    assert result.eval_loss is not None
    assert result.holes_per_second > 0
    assert base_model(loaded.model).config._attn_implementation == kept
    run = RunFolder.open(tmp_path / "run")
    rows = [row for row in run.read_metrics() if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, 16))
    assert rows[-1]["loss"] < rows[0]["loss"]
    manifest = read_json(run.data_manifest)
    assert manifest is not None
    assert manifest["packing"]["packing"] == "tree"
    assert any(message.startswith("packing tree: ") for message in caplog.messages)
    assert any(message.startswith("packed rows equal rows alone") for message in caplog.messages)


def test_nf4_trains_on_trees(learner: Path, tmp_path: Path) -> None:
    loaded = toy_loaded(learner, load_in_4bit=True, gradient_checkpointing=True)
    settings = toy_settings(max_steps=2)
    result = toy_trainer(loaded, tmp_path / "run", rows=ROWS, settings=settings).train()
    assert (result.packing, result.steps) == ("tree", 2)


def test_bfloat16_trains_on_trees(learner: Path, tmp_path: Path) -> None:
    loaded = toy_loaded(learner, dtype="bfloat16")
    settings = toy_settings(max_steps=5, learning_rate=2e-2)
    toy_trainer(loaded, tmp_path / "run", rows=ROWS, settings=settings).train()
    losses = [row["loss"] for row in RunFolder.open(tmp_path / "run").read_metrics()]
    assert losses[-1] < losses[0]


def test_a_resumed_packed_run_ends_where_an_unbroken_one_does(
    learner: Path, tmp_path: Path
) -> None:
    settings = toy_settings(max_steps=8, save_steps=3)
    for name in ("whole", "half"):
        trainer = toy_trainer(toy_loaded(learner), tmp_path / name, rows=ROWS, settings=settings)
        checkpoint = tmp_path / "whole" / "checkpoints" / "checkpoint-6"
        result = trainer.train(resume=checkpoint if name == "half" else None)
    assert result.steps == 8
    assert difference(tmp_path / "whole", tmp_path / "half") < 1e-6


def test_a_leak_is_refused_when_asked_for_and_avoided_by_auto(
    learner: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = toy_loaded(learner)

    def leaking(packed: object, *, device: str) -> dict[str, object]:
        import torch

        ids = torch.from_numpy(packed.input_ids)[None]
        return {"input_ids": ids, "supervised_targets": None}

    monkeypatch.setattr("fim.training.packed.packed_inputs", leaking)
    with pytest.raises(PackingLeakError, match=r"differs by 0\.\d+ from that of") as caught:
        choose_packing(loaded, ROWS, toy_settings(packing="tree"), has_own_loss=True)
    assert caught.value.hint == "Train without packing: FIM_TRAIN_PACKING=none"
    assert caught.value.exit_code == 5
    assert choose_packing(loaded, ROWS, toy_settings(), has_own_loss=True).name == "none"
    assert "none takes its place" in caplog.messages[-1]


def test_the_plain_loss_of_trunks_counts_by_its_weight(
    learner: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = toy_settings(packing="tree", trunk_loss=0.5, per_device_train_batch_size=20)
    plan = planned_packing(ROWS, settings)
    collator = StepCollator(plan, ROWS, seed=1, device="cpu")
    step = collator([{"step": 0}])
    _, _, supervised = cast("tuple[int, int, int]", step[COUNTS_KEY])
    texts = [each[PLAIN_ARGUMENT].shape[1] for each in cast("list[Any]", step[PACKED_KEY])]
    assert step[WEIGHT_KEY] == supervised + 0.5 * sum(texts)
    with caplog.at_level(logging.WARNING, logger="fim"):
        assert planned_packing(ROWS, toy_settings(packing="bfd", trunk_loss=0.5)).trunk_weight == 0
    assert "train.trunk_loss needs trees: packing bfd trains holes alone" in caplog.text


def test_a_run_trains_the_text_of_trunks(learner: Path, tmp_path: Path) -> None:
    settings = toy_settings(packing="tree", trunk_loss=0.2, max_steps=2)
    loaded = toy_loaded(learner)
    result = toy_trainer(loaded, tmp_path / "run", rows=ROWS, settings=settings).train()
    assert result.packing == "tree"
    assert 0 < result.train_loss < 20


def test_a_dry_run_plans_without_a_model() -> None:
    plan = planned_packing(ROWS, toy_settings())
    assert (plan.name, plan.rows_per_step) == ("tree", 4)
    assert plan.max_tokens == 4 * max(len(row.input_ids) for row in ROWS)
    assert planned_packing(ROWS, toy_settings(packing_tokens=90)).max_tokens == 90
    assert planned_packing(ROWS, toy_settings(), obstacle="it may not").name == "none"


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (Qwen3NextConfig(), "(qwen3_next) has layers of linear_attention"),
        (Qwen3_5Config(), "(qwen3_5_text) has layers of linear_attention"),
        (Olmo3Config(), "(olmo3) has layers of sliding_attention"),
        (
            MellumConfig(layer_types=["sliding_attention", "full_attention"], num_hidden_layers=2),
            "(mellum) has layers of sliding_attention",
        ),
        (MistralConfig(sliding_window=64), "(mistral) attends within a sliding window"),
        (MistralConfig(sliding_window=None), ""),
        (Qwen3Config(), ""),
        (Qwen2Config(use_sliding_window=True, sliding_window=64, max_window_layers=1), "sliding"),
        (LlamaConfig(), ""),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_models_that_would_mix_packed_rows_are_refused_by_name(
    config: PretrainedConfig, told: str
) -> None:
    found = attention_limit(config)
    assert told in found
    assert bool(told) == bool(found)
    if told:
        with pytest.raises(ConflictingSettingsError, match="cannot be packed here: the model"):
            planned_packing(ROWS, toy_settings(packing="tree"), obstacle=found)


def test_obstacles_are_named(learner: Path) -> None:
    loaded = toy_loaded(learner)

    def obstacle(config: PretrainedConfig | None = None, **changes: object) -> str:
        model = SimpleNamespace(config=config or Qwen3Config())
        return packing_obstacle(
            replace(loaded, model=model, **changes),  # type: ignore[arg-type]
            has_own_loss=True,
            wanted="auto",
        )

    assert obstacle() == ""
    assert "unsloth backend computes the loss" in packing_obstacle(
        replace(loaded, backend="unsloth"), has_own_loss=False, wanted="auto"
    )
    assert "drops out" in obstacle(Qwen3Config(attention_dropout=0.1))
    assert "not measured" in obstacle(device="cuda:0")
    assert "on mps" in obstacle(device="mps")


def test_a_step_holds_its_packed_rows_and_counts(learner: Path) -> None:
    plan = plan_packing(ROWS, "tree", max_tokens=150, rows_per_step=10)
    collator = StepCollator(plan, ROWS, seed=0, device="cpu")
    step = collator([{"step": 1}])
    assert len(step[PACKED_KEY]) > 1
    rows, tokens, supervised = step["packed_counts"]
    assert rows == sum(len(tree.rows) for tree in plan.steps(seed=0, epoch=0)[1])
    assert tokens == sum(each["input_ids"].shape[1] for each in step[PACKED_KEY])
    assert supervised == sum(int(each["supervised_targets"][2].sum()) for each in step[PACKED_KEY])


def test_the_block_mask_sees_what_pieces_see() -> None:
    import torch

    plan = plan_packing(ROWS, "tree", max_tokens=400, rows_per_step=20)
    packed = lay_out(plan.forest.trees[:3], ROWS)
    mask = flex_mask(packed.pieces, device="cpu")
    length = packed.num_tokens
    assert mask.shape == (1, 1, length, length)
    at = torch.arange(length)
    seen = mask.mask_mod(torch.tensor(0), torch.tensor(0), at[:, None], at[None, :])
    expected = torch.zeros(length, length, dtype=torch.bool)
    for piece in packed.pieces:
        own = slice(piece.start, piece.stop)
        expected[own, own] = torch.ones(piece.length, piece.length).tril().bool()
        expected[own, piece.trunk_start : piece.trunk_start + piece.shared] = True
    assert torch.equal(seen, expected)


def test_the_attention_of_packed_rows_is_chosen_by_device(learner: Path) -> None:
    loaded = toy_loaded(learner)
    config = base_model(loaded.model).config
    kept = config._attn_implementation
    with packed_attention(loaded):
        assert config._attn_implementation == ATTENTION_NAME
    with packed_attention(replace(loaded, device="cuda:0")):
        assert config._attn_implementation == FLEX_NAME
    with flex_attention_on(base_model(loaded.model)):
        assert config._attn_implementation == FLEX_NAME
    assert config._attn_implementation == kept
    assert packing_check.TOLERANCES["float32"] < packing_check.TOLERANCES["bfloat16"]
