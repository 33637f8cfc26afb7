from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMES = ("train", "complete", "corpus", "encode", "evaluate", "formats")
FOUND = [name for name in NAMES if (ROOT / "benchmarks" / f"{name}.py").is_file()]
SECONDS = 900


@pytest.mark.slow
@pytest.mark.parametrize("name", FOUND)
def test_the_small_run_of_a_benchmark_says_what_it_ran_on(name: str, tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, f"benchmarks/{name}.py", "--json", str(result), "--small"],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(result.read_text("utf-8"))
    assert {"machine", "versions", "rows", "ratios"} <= found.keys()
    assert found["rows"]


def test_make_bench_runs_every_benchmark_that_is_there() -> None:
    made = subprocess.run(
        ["make", "-n", "bench"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    for name in FOUND:
        assert f"benchmarks/{name}.py" in made.stdout
    assert "--table" in made.stdout
