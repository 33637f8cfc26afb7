"""Training on a CUDA device: both backends agree, packed rows equal rows alone. Needs a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
FEW_LAYERS = 4
NUM_TOKENS = 512
NUM_STEPS = 3

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="there is no CUDA device on this machine"
    ),
]


@pytest.fixture(scope="module")
def benchmark() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import gpu_train
    finally:
        sys.path.remove(str(BENCHMARKS))
    return gpu_train


@pytest.fixture(scope="module")
def model(benchmark: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    size = replace(benchmark.ON_GPU, config={**benchmark.QWEN3_8B, "num_hidden_layers": FEW_LAYERS})
    return benchmark.write_model(tmp_path_factory.mktemp("qwen3") / "model", size, device="cuda")


@pytest.fixture(scope="module")
def plain(benchmark: Any, model: Path) -> dict[str, Any]:
    return _train(benchmark, model, "transformers", "none")


def _train(
    benchmark: Any, model: Path, backend: str, packing: str, *, has_liger: bool = False
) -> dict[str, Any]:
    contestant = benchmark.Contestant(backend, packing, has_liger)
    found = benchmark.in_process(
        model, contestant, benchmark.Work(NUM_TOKENS, NUM_STEPS), is_tiny=False
    )
    assert "failed" not in found, found
    return found


def test_nf4_trains_on_the_gpu(plain: dict[str, Any]) -> None:
    assert plain["device"].startswith("cuda")
    assert len(plain["losses"]) == NUM_STEPS
    assert plain["peak_memory_mib"] > 0


def test_packed_rows_pass_the_check_and_give_the_same_loss(
    benchmark: Any, model: Path, plain: dict[str, Any]
) -> None:
    packed = _train(benchmark, model, "transformers", "bfd")
    assert packed["packing"] == "bfd"
    found = benchmark.agreement([plain, packed])
    assert found[packed["contestant"]]["agrees"], found


@pytest.mark.skipif(find_spec("unsloth") is None, reason="unsloth is not installed")
def test_unsloth_agrees_with_transformers(
    benchmark: Any, model: Path, plain: dict[str, Any]
) -> None:
    tuned = _train(benchmark, model, "unsloth", "none")
    assert tuned["backend"] == "unsloth"
    found = benchmark.agreement([plain, tuned])
    assert found[tuned["contestant"]]["agrees"], found


def test_the_doctor_names_the_gpu() -> None:
    code = "from fim.cli.app import main; main(['doctor', '--json'])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    rows = {row["name"]: row for row in json.loads(answer.stdout)["rows"]}
    assert torch.cuda.get_device_name(0) in json.dumps(rows)


@pytest.mark.skipif(find_spec("liger_kernel") is None, reason="liger-kernel is not installed")
def test_liger_kernels_give_the_same_loss(
    benchmark: Any, model: Path, plain: dict[str, Any]
) -> None:
    fused = _train(benchmark, model, "transformers", "none", has_liger=True)
    found = benchmark.agreement([plain, fused])
    assert found[fused["contestant"]]["agrees"], found
