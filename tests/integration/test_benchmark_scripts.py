"""The benchmarks of training and encoding run to their end on a small size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
TIMEOUT_SECONDS = 280


def answer_of(script: str, *options: str, folder: Path) -> dict[str, object]:
    path = folder / "answer.json"
    subprocess.run(
        [sys.executable, str(BENCHMARKS / script), "--json", str(path), *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_SECONDS,
    )
    return dict(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_the_logic_of_the_gpu_benchmark_on_the_cpu(tmp_path: Path) -> None:
    answer = answer_of("gpu_train.py", "--tiny", folder=tmp_path)
    rows = answer["rows"]
    assert isinstance(rows, list)
    assert [(row["packing"], row["tokens"], row["holes"]) for row in rows] == [
        ("none", 32, 0),
        ("bfd", 32, 0),
        ("none", 64, 0),
        ("bfd", 64, 0),
        ("bfd", 512, 8),
        ("tree", 512, 8),
    ]
    assert rows[-1]["token_gain"] > 1.5
    assert rows[-2]["token_gain"] == pytest.approx(1.0)
    assert all(row["utilisation"] is None for row in rows)
    assert all(row["tokens_per_second"] > row["supervised_tokens_per_second"] > 0 for row in rows)
    assert answer["agreement"]["transformers, bfd"]["agrees"]  # type: ignore[index]
    assert answer["ratios"]


@pytest.mark.slow
def test_the_benchmark_of_encoding(tmp_path: Path) -> None:
    answer = answer_of("encode.py", "--small", folder=tmp_path)
    assert len(answer["rows"]) == 8  # type: ignore[arg-type]
    assert all(ratio > 0 for ratio in answer["ratios"].values())  # type: ignore[attr-defined]


def test_the_gpu_benchmark_says_that_there_is_no_gpu(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    script = [sys.executable, str(BENCHMARKS / "gpu_train.py"), "--json", str(tmp_path / "x.json")]
    answer = subprocess.run(script, capture_output=True, text=True, check=False, timeout=120)
    assert answer.returncode == 2
    assert "no CUDA device" in answer.stderr
