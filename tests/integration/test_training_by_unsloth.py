"""Training through a stand-in that behaves as badly as Unsloth: what it does never gets out.

The real package is run by ``make test-unsloth``.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fim.config import HfSettings, LoraSettings, ModelSettings
from fim.errors import InferenceError
from fim.inference.generate import GenerationWatcher, generate_batch
from fim.inference.sampling import GenerationOptions
from fim.model import Hardware, LoadedModel, ModelLoader
from fim.training.generating import ready_to_generate
from model_toys import VOCABULARY_TOKENS, write_varied_model
from pipeline_toys import environment, write_rows

STAND_IN = Path(__file__).resolve().parents[1] / "unsloth_stand_in"
GPU = Hardware("cuda", name="a GPU", num_accelerators=1, has_bfloat16=True)
PROMPTS = ([5, 9, 200, 31, 7], [11, 12], [300, 2, 41, 44, 8, 9, 77], [90, 91, 92])
NUM_NEW = 8
AS_ON_A_GPU = """
import sys
import fim.model.loader
from fim.model import Hardware
gpu = Hardware("cuda", name="a GPU", num_accelerators=1, has_bfloat16=True)
fim.model.loader.detect_hardware = lambda: gpu
from fim.cli.app import main
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def varied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_varied_model(tmp_path_factory.mktemp("varied"))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    import trl

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(trl, "SFTTrainer", trl.SFTTrainer)
    monkeypatch.syspath_prepend(STAND_IN)
    importlib.import_module("unsloth")
    yield
    sys.modules.pop("unsloth")


def load(folder: Path, backend: str) -> LoadedModel:
    loader = ModelLoader(
        model=ModelSettings.model_validate(
            {"name": str(folder), "backend": backend, "dtype": "float32", "load_in_4bit": False}
        ),
        lora=LoraSettings(r=4, gradient_checkpointing=False),
        hf=HfSettings(),
        hardware=GPU if backend == "unsloth" else Hardware("cpu"),
        seed=1,
    )
    return loader.for_training(loader.load(is_training=True))


class EndsEarly(GenerationWatcher):
    """Ends one answer after the other and asks for two true answers to be scored."""

    def __init__(self) -> None:
        super().__init__({0: [7, 8, 9], 2: [4]})
        self.counts = dict.fromkeys(range(len(PROMPTS)), 0)
        self.losses: dict[int, list[float]] = {}

    def token(self, index: int, token_id: int) -> str | None:
        self.counts[index] += 1
        return "rule" if self.counts[index] == NUM_NEW - 2 * index else None

    def scored(self, index: int, losses: list[float]) -> None:
        self.losses[index] = losses


def answers(
    loaded: LoadedModel, prompts: tuple[list[int], ...], watcher: EndsEarly | None = None
) -> list[tuple[int, ...]]:
    found = generate_batch(
        loaded.model,
        prompts,
        options=GenerationOptions(max_new_tokens=NUM_NEW),
        stop_ids=(),
        pad_id=0,
        watcher=watcher,
    )
    return [each.ids for each in found]


def test_holes_during_training_are_answered_as_by_transformers(
    varied: Path, stand_in: None
) -> None:
    found = {}
    for backend in ("transformers", "unsloth"):
        loaded = load(varied, backend)
        assert loaded.backend == backend
        watcher = EndsEarly()
        with ready_to_generate(loaded, attention="sdpa"):
            ids = [
                answers(loaded, PROMPTS, watcher),
                answers(loaded, PROMPTS[:1]),
                answers(loaded, (PROMPTS[0], PROMPTS[0][::-1])),
                answers(loaded, PROMPTS),
            ]
        found[backend] = ids, watcher.losses
        assert loaded.model.training
        assert "forward" not in loaded.model.__dict__
    assert found["unsloth"][0] == found["transformers"][0]
    assert found["unsloth"][1] == {
        index: pytest.approx(losses, abs=1e-4) for index, losses in found["transformers"][1].items()
    }
    whole = [ids for answer in found["unsloth"][0] for ids in answer]
    assert max(len(set(ids)) for ids in whole) > NUM_NEW // 2
    assert all(0 <= each < VOCABULARY_TOKENS for ids in whole for each in ids)


@pytest.mark.parametrize("has_gold", [True, False])
def test_a_model_that_leaves_the_cache_alone_is_refused_by_name(
    varied: Path, stand_in: None, has_gold: bool
) -> None:
    loaded = load(varied, "unsloth")
    with pytest.raises(InferenceError, match="PeftModelForCausalLM was handed") as caught:
        answers(loaded, PROMPTS[:1], EndsEarly() if has_gold else None)
    assert caught.value.hint == "load it with transformers: FIM_MODEL_BACKEND=transformers"


def test_nothing_that_unsloth_does_gets_out(tiny_model: Path, tmp_path: Path) -> None:
    place = tmp_path / "project"
    place.mkdir()
    record = tmp_path / "record"
    variables = environment(tiny_model, write_rows(tmp_path / "rows.jsonl")) | {
        "FIM_MODEL_BACKEND": "unsloth",
        "FIM_HF_TOKEN": "hf_secret",
        "FIM_CACHE_DIR": str(tmp_path / "cache"),
        "FIM_TRAIN_EVAL_GENERATION_HOLES": "3",
        "FIM_EVAL_MAX_NEW_TOKENS": "4",
        "PYTHONPATH": str(STAND_IN),
        "STAND_IN_RECORD": str(record),
    }

    clean = {name: value for name, value in os.environ.items() if not name.startswith("UNSLOTH_")}

    def fim(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**clean, **variables},
            cwd=place,
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )

    trained = fim(AS_ON_A_GPU, "train", "--out", "run", "--json")
    assert trained.returncode == 0, trained.stderr
    answer = json.loads(trained.stdout)
    assert answer["steps"] == 4
    assert "exact_match" in answer["held_out"]
    for where in ("import", "load", "LoRA"):
        assert f"says hello at {where}" in trained.stderr
        assert f"kernels say hello at {where}" in trained.stderr
    assert record.read_text() == "imported\n"
    assert [path.name for path in place.iterdir()] == ["run"]
    assert (tmp_path / "cache" / "unsloth" / "UnslothSFTTrainer.py").is_file()
    assert not any(
        b"hf_secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )
    record.unlink()
    words = ("complete", "--adapter", "run/adapter", "--prefix", "def add(a", "--suffix", "\n")
    told = fim(AS_ON_A_GPU.replace('"cuda"', '"cpu"'), *words, "--json")
    assert told.returncode == 0, told.stderr
    assert not record.exists()
    assert (
        fim(AS_ON_A_GPU.replace('"cuda"', '"cpu"'), *words).stdout
        == json.loads(told.stdout)["text"]
    )
