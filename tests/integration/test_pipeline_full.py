"""Full fine-tuning from settings to a completion with the model that it leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fim.cli.app import main
from fim.config import load_settings
from fim.errors import ConfigError
from fim.pipeline import make_completer, run_training
from pipeline_toys import environment, write_rows


def test_the_whole_model_completes_as_it_was_trained(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    env = environment(
        tiny_model,
        write_rows(tmp_path / "rows.jsonl"),
        FIM_MODEL_FULL_FINETUNING="true",
        FIM_TRAIN_MAX_STEPS="2",
        FIM_DATA_ANCHOR_LINES="2",
    )
    outcome = run_training(load_settings(env=env, cwd=tmp_path))
    run = outcome.run
    assert run.trained == run.model
    assert outcome.as_json()["adapter"] == str(run.model)
    assert (run.model / "README.md").is_file()
    commands = json.loads(run.summary.read_text())["commands"]
    assert f"complete --model {run.shown_path}/model" in commands[0]

    plain = {"FIM_INFER_MAX_NEW_TOKENS": "6", "FIM_MODEL_DTYPE": "float32"}
    newest = make_completer(load_settings(env=plain, cwd=tmp_path))
    named = make_completer(
        load_settings(
            env={**plain, "FIM_MODEL_NAME": str(run.model)},
            cwd=tmp_path,
        ),
        is_base_alone=True,
    )
    example = outcome.prepared.train_set.rows[0].example
    asked = outcome.prepared.encoder.prompt(example).ids
    assert newest.encoder.prompt(example).ids == asked
    assert named.encoder.prompt(example).ids == asked
    for name, value in plain.items():
        monkeypatch.setenv(name, value)
    arguments = ["complete", "--model", str(run.model), "--prefix", "def f(", "--json"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    text = json.loads(capfd.readouterr().out)["text"]
    assert text == named.complete("def f(", "").text


def test_4_bit_weights_are_not_trained_themselves(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be trained themselves"):
        load_settings(env={"FIM_MODEL_FULL_FINETUNING": "true"}, cwd=tmp_path)
