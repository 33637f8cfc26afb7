"""Training on a CUDA device: every way learns the same, and says nothing on standard output.

The check part of ``benchmarks/gpu_train.py`` does the work, with its rows in ``FIM_GPU_ROWS``
(written by its part ``rows``, also on another machine) and its figures in ``FIM_GPU_FIGURES``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu_train.py"

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not torch.cuda.is_available(), reason="there is no CUDA device on this machine"
    ),
]


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("gpu")
    rows = Path(os.environ.get("FIM_GPU_ROWS", folder / "rows"))
    out = Path(os.environ.get("FIM_GPU_FIGURES", folder / "check.json"))
    if not rows.is_file():
        subprocess.run([sys.executable, str(SCRIPT), "rows", str(rows)], check=True, timeout=300)
    command = [sys.executable, str(SCRIPT), "check", str(rows), "--json", str(out)]
    subprocess.run(command, check=True, timeout=800)
    return dict(json.loads(out.read_text(encoding="utf-8")))


def failures(answer: dict[str, Any], backend: str) -> dict[str, Any]:
    rows = answer["rows"]
    return {
        r["name"]: r["failed"] for r in rows if r["job"]["backend"] == backend and "failed" in r
    }


def test_transformers_trains_and_trees_learn_the_same(answer: dict[str, Any]) -> None:
    assert failures(answer, "transformers") == {}
    told = answer["agreement"]["transformers, tree, bfloat16"]
    assert told["agrees"], told
    assert told["is_stdout_empty"]


@pytest.mark.skipif(find_spec("unsloth") is None, reason="unsloth is not installed")
def test_unsloth_learns_and_answers_the_same(answer: dict[str, Any]) -> None:
    assert failures(answer, "unsloth") == {}
    for dtype in ("bfloat16", "float16"):
        told = answer["agreement"][f"unsloth, none, {dtype}"]
        assert told["agrees"], told
        assert told["is_stdout_empty"]


def test_presets_fit_their_cards_within_the_estimate(answer: dict[str, Any]) -> None:
    for row in answer["rows"]:
        if row["job"]["card_gb"]:
            assert "failed" not in row, row
            assert row["peak_memory_mib"] < row["job"]["card_gb"] * 1e9 / 2**20


def test_the_doctor_names_the_gpu() -> None:
    code = "from fim.cli.app import main; main(['doctor', '--json'])"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    rows = {row["name"]: row for row in json.loads(answer.stdout)["rows"]}
    assert torch.cuda.get_device_name(0) in json.dumps(rows)
    assert rows["driver"]["status"] == "ok"
