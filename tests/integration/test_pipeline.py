"""From settings to a run folder and back to a completion, on a small random model."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from fim.cli.app import main
from fim.config import ResolvedSettings, load_settings
from fim.errors import (
    AdapterMismatchError,
    EmptyDatasetError,
    FormatUnsupportedError,
    NoFinishedRunError,
    RunFolderError,
)
from fim.pipeline import TrainingOutcome, make_completer, run_training
from fim.quickstart import next_commands, run_quickstart
from fim.runs import RunFolder
from pipeline_toys import environment, write_rows


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return write_rows(tmp_path / "rows.jsonl")


@pytest.fixture(scope="module")
def trained(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[ResolvedSettings, TrainingOutcome]:
    """A run in ``runs`` of a working folder of its own."""
    folder = tmp_path_factory.mktemp("trained")
    rows = write_rows(folder / "rows.jsonl")
    resolved = load_settings(env=environment(tiny_model, rows), cwd=folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        outcome = run_training(resolved)
    return resolved, replace(outcome, run=RunFolder.open(folder / outcome.run.path))


def test_a_run_leaves_everything_behind(
    tiny_model: Path, trained: tuple[ResolvedSettings, TrainingOutcome]
) -> None:
    _, outcome = trained
    run = outcome.run
    assert run.path.parent.name == "runs"
    assert run.status.state == "done"
    for path in (
        run.config,
        run.sources,
        run.environment,
        run.data_manifest,
        run.summary,
        run.metrics,
        run.plots / "loss.svg",
        run.adapter / "fim_format.json",
        run.adapter / "fim_settings.json",
        run.adapter / "README.md",
        run.card,
        run.report,
    ):
        assert path.is_file(), path
    assert outcome.as_json()["steps"] == 4
    manifest = json.loads(run.data_manifest.read_text())
    assert manifest["examples"]["train"] + manifest["examples"]["held_out"] == 40
    assert json.loads(run.config.read_text())["model"]["name"] == str(tiny_model)


def test_the_newest_run_completes(
    trained: tuple[ResolvedSettings, TrainingOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved, outcome = trained
    folder = outcome.run.path.parents[1]
    monkeypatch.chdir(folder)
    completer = make_completer(load_settings(env={"FIM_INFER_MAX_NEW_TOKENS": "8"}, cwd=folder))
    assert completer.encoder.resolved.format.name == "psm"  # type: ignore[attr-defined]
    assert completer.encoder.max_seq_length == resolved.settings.model.max_seq_length  # type: ignore[attr-defined]
    answer = completer.complete("def f():\n    ret", "\n", language="Python")
    pieces = "".join(completer.stream("def f():\n    ret", "\n", language="Python"))
    assert pieces == answer.text


def test_training_prompt_is_the_served_prompt(
    trained: tuple[ResolvedSettings, TrainingOutcome],
) -> None:
    resolved, outcome = trained
    completer = make_completer(resolved, adapter=outcome.run.adapter)
    for row in outcome.prepared.train_set.rows:
        asked = completer.encoder.prompt(row.example).ids
        assert asked == row.input_ids[: row.prompt_length]


def test_an_adapter_is_refused_on_another_base(
    trained: tuple[ResolvedSettings, TrainingOutcome], tmp_path: Path, smollm2_tokenizer: object
) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    other = tmp_path / "other"
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=64,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
    )
    LlamaForCausalLM(config).save_pretrained(other)
    smollm2_tokenizer.save_pretrained(other)  # type: ignore[attr-defined]
    wrong = load_settings(env=environment(other, tmp_path / "rows.jsonl"), cwd=tmp_path)
    with pytest.raises(AdapterMismatchError, match="trained on"):
        make_completer(wrong, adapter=trained[1].run.adapter)


def test_an_adapter_of_another_format_is_refused(
    trained: tuple[ResolvedSettings, TrainingOutcome], tmp_path: Path
) -> None:
    resolved, outcome = trained
    adapter = shutil.copytree(outcome.run.adapter, tmp_path / "adapter")
    record = json.loads((adapter / "fim_format.json").read_text())
    (adapter / "fim_format.json").write_text(json.dumps({**record, "fingerprint": "0" * 32}))
    with pytest.raises(AdapterMismatchError, match="renders it as"):
        make_completer(resolved, adapter=adapter)


def test_no_finished_run(tmp_path: Path) -> None:
    with pytest.raises(NoFinishedRunError):
        make_completer(
            load_settings(env={}, cwd=tmp_path, overrides={"train.output_dir": tmp_path})
        )


def test_failures_are_recorded(tiny_model: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    resolved = load_settings(env=environment(tiny_model, empty), cwd=tmp_path)
    with pytest.raises(EmptyDatasetError):
        run_training(resolved, out=tmp_path / "run")
    assert (tmp_path / "run" / "STATUS").read_text().startswith("failed")


def test_a_format_that_the_tokenizer_cannot_speak(
    tiny_model: Path, rows: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    odd = tmp_path / "odd"
    odd.mkdir()
    for file in tiny_model.iterdir():
        (odd / file.name).write_bytes(file.read_bytes())
    text = (odd / "tokenizer.json").read_text(encoding="utf-8")
    (odd / "tokenizer.json").write_text(text.replace("<repo_name>", "<other_name>"))
    assert AutoTokenizer.from_pretrained(odd).convert_tokens_to_ids("<other_name>") == 3
    resolved = load_settings(env=environment(odd, rows), cwd=tmp_path)
    with pytest.raises(FormatUnsupportedError, match="no single token <repo_name>"):
        run_training(resolved, out=tmp_path / "run")


def test_a_run_folder_that_is_a_file(tiny_model: Path, rows: Path, tmp_path: Path) -> None:
    (tmp_path / "run").write_text("not a folder")
    resolved = load_settings(env=environment(tiny_model, rows), cwd=tmp_path)
    with pytest.raises(RunFolderError) as caught:
        run_training(resolved, out=tmp_path / "run")
    assert caught.value.exit_code == 7
    assert caught.value.hint


def test_resume_continues_and_refuses_without_a_checkpoint(
    trained: tuple[ResolvedSettings, TrainingOutcome],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    resolved, outcome = trained
    run = shutil.copytree(outcome.run.path, tmp_path / "run")
    again = run_training(resolved, resume=str(run))
    assert again.run.path == run
    assert again.result.steps == 4
    with pytest.raises(RunFolderError):
        run_training(resolved, resume="last")


def test_quickstart_on_a_small_corpus(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    corpus = tmp_path / "code"
    corpus.mkdir()
    for number in range(24):
        body = "\n\n".join(
            f"def function_{number}_{part}(value):\n    result = value * {number + part}\n"
            f"    print('{number}', result)\n    return result + {part}\n"
            for part in range(6)
        )
        (corpus / f"module_{number}.py").write_text(f'"""Module {number * 7919}."""\n\n\n{body}')
    env = environment(
        tiny_model,
        corpus,
        FIM_EVAL_NUM_HOLES="12",
        FIM_EVAL_MAX_NEW_TOKENS="6",
        FIM_CORPUS_NEAR_DUPLICATE_THRESHOLD="1.0",
        FIM_CORPUS_HELD_OUT_FRACTION="0.3",
    )
    resolved = load_settings(env={**env, "FIM_DATA_PATH": ""}, cwd=tmp_path)
    outcome = run_quickstart(resolved, minutes=1.0, corpus=corpus)
    answer = outcome.as_json()
    assert set(answer) >= {"run", "seconds", "peak_memory_mib", "holes", "metrics", "report"}
    metrics = answer["metrics"]
    assert isinstance(metrics, dict)
    assert set(metrics) >= {"nll_per_token", "edit_similarity", "exact_match", "stop_rate"}
    for gain in metrics.values():
        assert set(gain) == {"base", "tuned", "difference", "low", "high"}
        assert gain["low"] <= gain["difference"] <= gain["high"]
    assert outcome.run.status.state == "done"
    page = outcome.run.report.read_text(encoding="utf-8")
    assert "left-to-right" in page
    assert not re.search(r"""(src|href)=["']https?:""", page)
    complete, report = next_commands(outcome, "fim")
    assert complete.startswith("fim complete --prefix ")
    assert report == f"fim report {outcome.run.shown_path}"
    shown = outcome.run.samples.read_text(encoding="utf-8").splitlines()
    assert len(shown) == min(5, int(str(answer["holes"])))


def test_train_by_command_line(
    tiny_model: Path,
    rows: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in environment(tiny_model, rows).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as done:
        main(["train", "--json", "--out", "run"])
    assert done.value.code == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) >= {
        "run",
        "adapter",
        "steps",
        "seconds",
        "holes_per_second",
        "tokens_per_second",
        "supervised_tokens_per_second",
        "peak_memory_mib",
        "train_loss",
        "eval_loss",
    }
    adapter = answer["adapter"]
    with pytest.raises(SystemExit) as done:
        main(["complete", "--adapter", adapter, "--prefix", "x = ", "--suffix", "\n", "--json"])
    assert done.value.code == 0
    assert set(json.loads(capsys.readouterr().out)) == {
        "text",
        "tokens",
        "stop_reason",
        "milliseconds",
    }


def test_quickstart_by_command_line(
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    corpus = tmp_path / "code"
    corpus.mkdir()
    for number, name in enumerate(("alpha", "beta", "gamma", "delta", "omega", "sigma")):
        lines = [f"def {name}_{part}(x):\n    return x + {part * number}\n" for part in range(30)]
        (corpus / f"{name}.py").write_text("\n\n".join(lines))
    for key, value in environment(tiny_model, corpus, FIM_EVAL_MAX_NEW_TOKENS="4").items():
        monkeypatch.setenv(key, "" if key == "FIM_DATA_PATH" else value)
    monkeypatch.setenv("FIM_CORPUS_NEAR_DUPLICATE_THRESHOLD", "1.0")
    with pytest.raises(SystemExit) as done:
        main(["quickstart", "--corpus", "code", "--minutes", "1", "--out", "run"])
    talk = capsys.readouterr().err
    assert done.value.code == 0, talk
    assert "95 % interval" in talk
    assert "previous line" in talk
    assert "complete --adapter run/adapter --prefix" in talk


@pytest.mark.slow
def test_ctrl_c_writes_a_checkpoint_and_its_command_resumes(
    tiny_model: Path, rows: Path, tmp_path: Path
) -> None:
    env = {
        **os.environ,
        **environment(tiny_model, rows, FIM_TRAIN_MAX_STEPS="100000", FIM_TRAIN_EVAL_STEPS="9999"),
    }
    script = Path(__file__).resolve().parents[2] / "scripts" / "train.py"
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "runs" / "latest" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not metrics.is_file():
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 130, talk
    command = talk.split("hint: ")[1].split("\n")[0].split()
    assert command[1:3] == ["train", "--resume"]
    run = Path(tmp_path, command[3])
    assert (run / "STATUS").read_text().startswith("interrupted")
    config = json.loads((run / "config.json").read_text())
    done = max(int(path.name.split("-")[1]) for path in (run / "checkpoints").glob("checkpoint-*"))
    config["train"]["max_steps"] = done + 2
    (run / "config.json").write_text(json.dumps(config))
    resumed = subprocess.run(
        [sys.executable, str(script), *command[2:], "--json"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(resumed.stdout)["steps"] == done + 2
    assert (run / "STATUS").read_text().startswith("done")
