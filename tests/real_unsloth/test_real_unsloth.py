"""Real Unsloth against transformers, on a tiny random Qwen3 and without a GPU.

``make test-unsloth`` runs this in an environment of its own, with the versions of the GPU lock.
What stands in for the GPU is told in ``cpu_harness``; the Triton kernels themselves are not run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from model_toys import write_varied_model
from pipeline_toys import environment, write_rows, write_tiny_model

WORKER = Path(__file__).with_name("worker.py")
LOCK = Path(__file__).resolve().parents[2] / "constraints" / "gpu.txt"
METHODS = ("plain", "dora", "rslora", "checkpointing", "full")
KINDS = (
    ("transformers", "float32"),
    ("unsloth", "float32"),
    ("transformers", "bfloat16"),
    ("unsloth", "bfloat16"),
)
OWN_VARIABLES = ("UNSLOTH_", "PYTORCH_ALLOC_CONF", "TORCHINDUCTOR_CACHE_DIR")

pytestmark = [pytest.mark.unsloth, pytest.mark.timeout(900)]


def run(
    arguments: tuple[str, ...], place: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    place.mkdir(parents=True, exist_ok=True)
    return subprocess.run(
        [sys.executable, str(WORKER), *arguments],
        cwd=place,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], dict[str, Any]]:
    folder = tmp_path_factory.mktemp("unsloth")
    model = write_varied_model(folder / "model")

    def one(kind: tuple[str, str]) -> dict[str, Any]:
        place = folder / "-".join(kind)
        env = {"FIM_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
        done = run((*kind, str(model), str(folder / "out")), place, env)
        assert done.returncode == 0, done.stderr[-3000:]
        told = json.loads((folder / "out" / f"{kind[0]}-{kind[1]}.json").read_text())
        return {**told, "left": [path.name for path in place.iterdir()]}

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(KINDS, pool.map(one, KINDS), strict=True))


def part(found: dict[tuple[str, str], dict[str, Any]], backend: str, dtype: str, name: str) -> Any:
    told = found[backend, dtype]
    return told[name] if name in told else told["methods"][name]


def test_the_versions_are_those_of_the_gpu_lock() -> None:
    pins = dict(line.split("==") for line in LOCK.read_text().splitlines() if "==" in line)
    for name in ("unsloth", "unsloth-zoo", "trl", "transformers", "peft", "datasets", "accelerate"):
        assert version(name) == pins[name], name


@pytest.mark.parametrize("method", [*METHODS, "resumed"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 1e-2)])
def test_both_backends_take_the_same_steps(
    found: dict[tuple[str, str], dict[str, Any]], method: str, dtype: str, tolerance: float
) -> None:
    ours = part(found, "transformers", dtype, method)
    theirs = part(found, "unsloth", dtype, method)
    if method == "full":
        tolerance *= 2
    for figure in ("loss", "grad_norm", "eval_loss"):
        assert len(ours[figure]) == 4
        assert theirs[figure] == pytest.approx(ours[figure], rel=tolerance), figure
    assert len(set(ours["loss"])) == 4
    assert ours["eval_loss"][-1] != pytest.approx(ours["eval_loss"][0], rel=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_both_backends_give_the_same_answers(
    found: dict[tuple[str, str], dict[str, Any]], method: str
) -> None:
    ours = part(found, "transformers", "float32", method)
    theirs = part(found, "unsloth", "float32", method)
    assert theirs["during"] == ours["during"]
    assert theirs["after"].keys() == ours["after"].keys()
    for name, answers in ours["after"].items():
        assert theirs["after"][name]["ids"] == answers["ids"], name
        assert theirs["after"][name]["gold"] == pytest.approx(answers["gold"], rel=1e-4)
        for index, losses in answers["scored"].items():
            assert theirs["after"][name]["scored"][index] == pytest.approx(losses, rel=1e-4)
    ids = ours["after"]["with"]["ids"]
    assert max(len(set(each)) for each in ids["again"]) > 4
    assert [len(each) for each in ids["leaving"]] == [8, 6, 4, 2]


def test_answers_change_by_training_and_with_the_adapter(
    found: dict[tuple[str, str], dict[str, Any]],
) -> None:
    theirs = part(found, "unsloth", "float32", "plain")
    assert theirs["after"]["with"]["gold"] != theirs["after"]["without"]["gold"]
    assert theirs["during"][0] != theirs["during"][-1]


def test_bfloat16_scores_agree(found: dict[tuple[str, str], dict[str, Any]]) -> None:
    for method in METHODS:
        ours = part(found, "transformers", "bfloat16", method)["after"]["with"]["gold"]
        theirs = part(found, "unsloth", "bfloat16", method)["after"]["with"]["gold"]
        assert theirs == pytest.approx(ours, rel=0.02)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_unsloth_leaves_no_trace(found: dict[tuple[str, str], dict[str, Any]], dtype: str) -> None:
    told = found["unsloth", dtype]
    assert told["seen"] == {"early": [], "logins": 0, "addresses": []}
    assert told["left"] == []
    assert [name for name in told["environment"] if not name.startswith(OWN_VARIABLES)] == []


def test_the_command_line_trains_and_answers(tmp_path: Path, smollm2_tokenizer: Any) -> None:
    smollm2_tokenizer.pad_token = smollm2_tokenizer.eos_token
    model = write_tiny_model(tmp_path / "model", smollm2_tokenizer)
    place = tmp_path / "project"
    variables = environment(model, write_rows(tmp_path / "rows.jsonl")) | {
        "FIM_MODEL_BACKEND": "unsloth",
        "FIM_HF_TOKEN": "hf_secret",
        "FIM_TRAIN_EVAL_GENERATION_HOLES": "3",
        "FIM_EVAL_MAX_NEW_TOKENS": "4",
    }
    trained = run(("fim", "train", "--out", "run", "--json"), place, variables)
    assert trained.returncode == 0, trained.stderr[-3000:]
    answer = json.loads(trained.stdout)
    assert answer["steps"] == 4
    assert "Unsloth" in trained.stderr
    assert sorted(path.name for path in place.iterdir()) == ["run"]
    assert not any(
        b"hf_secret" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()
    )
    words = ("complete", "--adapter", "run/adapter", "--prefix", "def add(a", "--suffix", "\n")
    told = run(("fim-on-cpu", *words, "--json"), place, variables)
    assert told.returncode == 0, told.stderr[-3000:]
    assert "Unsloth" not in told.stderr
    assert run(("fim-on-cpu", *words), place, variables).stdout == json.loads(told.stdout)["text"]


def test_the_gpu_benchmark_sees_that_unsloth_learns_the_same(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    rows.write_text("".join(json.dumps(row) + "\n" for row in benchmark_rows()))
    figures = {}
    for backend in ("transformers", "unsloth", "read-unsloth"):
        out = tmp_path / f"{backend.removeprefix('read-')}.json"
        words = ("benchmark", backend, str(rows), str(tmp_path / "models"), str(out))
        done = run(words, tmp_path / "place", {})
        assert done.returncode == 0, done.stderr[-3000:]
        figures[backend] = json.loads(out.read_text())
    sys.path.insert(0, str(WORKER.parents[2] / "benchmarks"))
    import gpu_train

    told = gpu_train.agreement(figures["transformers"], figures["read-unsloth"])
    assert told["agrees"], told
    assert told["nll_difference"] < 1e-3
    assert told["equal_ids"] == 1.0


def benchmark_rows() -> list[dict[str, object]]:
    """Return rows of three documents in the form of the benchmark's file."""
    generator = random.Random(1)

    def ids(count: int) -> list[int]:
        return [generator.randrange(3, 49_000) for _ in range(count)]

    found: list[dict[str, object]] = []
    for document in range(3):
        trunk = ids(60)
        for hole in range(8):
            prompt, middle = [*trunk[: 40 + hole], *ids(9)], ids(4)
            found.append(
                {
                    "kind": "constructed",
                    "ids": [*prompt, *middle],
                    "labels": [-100] * len(prompt) + middle,
                    "prompt": len(prompt),
                    "document": str(document),
                }
            )
    return found
