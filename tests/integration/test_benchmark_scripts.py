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
def test_the_benchmark_of_encoding(tmp_path: Path) -> None:
    answer = answer_of("encode.py", "--small", folder=tmp_path)
    assert len(answer["rows"]) == 8  # type: ignore[arg-type]
    assert all(ratio > 0 for ratio in answer["ratios"].values())  # type: ignore[attr-defined]
