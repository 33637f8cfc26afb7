"""A dry run says what a run would do, and leaves everything alone."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fim.cli.app import main
from fim.config import load_settings
from fim.corpus import stdlib_root
from fim.errors import ModelNotFoundError
from fim.model import ModelLoader
from fim.pipeline import run_training
from fim.planning import plan_training
from pipeline_toys import SHORT, environment, write_rows, write_tiny_model

KEYS = {
    "examples",
    "tokens",
    "supervised_tokens",
    "steps",
    "packing",
    "token_gain",
    "estimated_memory_mib",
    "estimated_seconds",
}
TOLERANCE = 0.25


@pytest.fixture(scope="module")
def variables(
    tmp_path_factory: pytest.TempPathFactory, smollm2_tokenizer: object
) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("planning")
    model = write_tiny_model(folder / "tiny", smollm2_tokenizer)
    return environment(model, write_rows(folder / "rows.jsonl"), **SHORT)


@pytest.fixture
def _isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object, **__: object) -> None:
        message = "a dry run must not do this"
        raise AssertionError(message)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ModelLoader, "load", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.usefixtures("_isolated")
def test_a_dry_run_by_command_line_touches_nothing(
    variables: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--dry-run", "--json"])
    assert not stopped.value.code
    answer = json.loads(capsys.readouterr().out)
    assert answer.keys() >= KEYS
    assert answer["examples"] == 38
    assert answer["effective_batch"] == 4
    assert 0 < answer["supervised_share"] < 1
    assert answer["estimated_seconds"] is None
    assert answer["estimated_seconds_basis"].startswith("unknown")
    assert answer["uploads"] == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SystemExit):
        main(["train", "--dry-run", "--out", "here"])
    shown = capsys.readouterr()
    assert "nothing was trained" in shown.out + shown.err
    assert "unknown" in shown.out + shown.err
    assert list(tmp_path.iterdir()) == []


def test_the_plan_is_what_training_does(variables: dict[str, str], tmp_path: Path) -> None:
    more = {"FIM_TRAIN_MAX_STEPS": "-1", "FIM_TRAIN_GRADIENT_ACCUMULATION_STEPS": "2"}
    resolved = load_settings(env=variables | more, cwd=tmp_path)
    plan = plan_training(resolved)
    outcome = run_training(resolved, out=tmp_path / "run")
    assert plan.examples == len(outcome.prepared.train_set.rows)
    assert plan.steps == outcome.result.steps
    assert plan.packing["packing"] == outcome.result.packing
    assert plan.rows_per_step == 8
    known = plan_training(resolved, resume=str(tmp_path / "run"))
    assert known.run_folder == str(tmp_path / "run")
    assert known.steps == plan.steps


def test_a_packed_run_is_planned_as_packed(variables: dict[str, str], tmp_path: Path) -> None:
    resolved = load_settings(env=variables | {"FIM_TRAIN_PACKING": "bfd"}, cwd=tmp_path)
    plan = plan_training(resolved)
    assert plan.packing["packing"] == "bfd"
    assert plan.memory is not None


def test_a_model_for_a_gpu_is_planned_without_one(
    variables: dict[str, str], tmp_path: Path, qwen3_tokenizer_folder: Path
) -> None:
    folder = tmp_path / "Qwen3-8B"
    folder.mkdir()
    for file in qwen3_tokenizer_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    from transformers import Qwen3Config

    Qwen3Config(vocab_size=151_936, tie_word_embeddings=False).save_pretrained(folder)
    wanted = {
        "FIM_MODEL_NAME": str(folder),
        "FIM_PRESET": "24gb",
        "FIM_DATA_PATH": variables["FIM_DATA_PATH"],
        "FIM_MODEL_BACKEND": "transformers",
    }
    plan = plan_training(load_settings(env=wanted, cwd=tmp_path))
    assert plan.memory is not None
    assert plan.time.seconds is None


@pytest.mark.parametrize("preset", ["24gb"])
def test_what_would_have_to_be_downloaded_is_told(preset: str, tmp_path: Path) -> None:
    wanted = {"FIM_PRESET": preset, "HF_HUB_OFFLINE": "1"}
    resolved = load_settings(env=wanted, cwd=tmp_path)
    with pytest.raises(ModelNotFoundError, match="A dry run downloads nothing") as caught:
        plan_training(resolved)
    assert "hf download unsloth/Qwen3-8B-bnb-4bit" in str(caught.value.hint)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batch", "tokens", "checkpointing"), [(2, 128, 0), (4, 512, 0), (2, 1024, 1)]
)
def test_estimated_memory_is_within_a_quarter_of_the_peak(
    batch: int, tokens: int, checkpointing: int, tmp_path: Path
) -> None:
    holes = _long_holes(tmp_path / "holes.jsonl", chars=tokens * 5)
    settings = {
        "model.max_seq_length": tokens,
        "data.middle_reserve_tokens": 32,
        "infer.max_new_tokens": 32,
        "eval.max_new_tokens": 32,
        "lora.gradient_checkpointing": checkpointing,
        "train.per_device_train_batch_size": batch,
        "train.per_device_eval_batch_size": 1,
        "train.max_steps": 2,
        "train.max_minutes": "none",
    }
    assignments = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    common = ["train", "--preset", "cpu", "--data", str(holes), "--json", *assignments]
    plan = _fim([*common, "--dry-run"], tmp_path)
    done = _fim([*common, "--out", "run"], tmp_path)
    assert plan["estimated_memory_mib"] == pytest.approx(done["peak_memory_mib"], rel=TOLERANCE)


def _fim(arguments: list[str], folder: Path) -> dict[str, float]:
    code = "import sys; from fim.cli.app import main; main(sys.argv[1:])"
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=280,
    )
    return dict(json.loads(answer.stdout))


def _long_holes(path: Path, *, chars: int) -> Path:
    generator = random.Random(0)
    files = sorted(stdlib_root().glob("*.py"))
    texts = [text for file in files if len(text := file.read_text("utf-8")) > 3 * chars][:24]
    with path.open("w", encoding="utf-8") as stream:
        for text in texts:
            cut = generator.randrange(chars, len(text) - chars)
            row = {
                "prefix": text[:cut],
                "middle": text[cut : cut + 30],
                "suffix": text[cut + 30 :],
                "context_items": [],
                "lang": "Python",
            }
            stream.write(json.dumps(row) + "\n")
    return path
