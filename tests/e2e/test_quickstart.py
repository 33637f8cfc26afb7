"""The whole path as a user goes it: embedded model, standard library, printed commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fim.model.hardware import detect_hardware

MINUTES = 7 if detect_hardware().has_bfloat16 else 27
"""Enough training to tell; without bfloat16 instructions a step takes five times as long."""

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(MINUTES * 60 + 480)]

PROGRAM = Path(sys.executable).with_name("fim")


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "FIM_NO_PROGRESS": "1"}
    return subprocess.run(
        [str(PROGRAM), *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=MINUTES * 60 + 430,
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """A folder in which a shortened quickstart was run, and its answer."""
    folder = tmp_path_factory.mktemp("quickstart")
    few = ("--set", "eval.num_holes=200")
    done = run(folder, "quickstart", "--json", "--minutes", str(MINUTES), *few)
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


def test_the_likelihood_gets_better_within_minutes(
    finished: tuple[Path, dict[str, object]],
) -> None:
    _, answer = finished
    metrics = answer["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["nll_per_token"]["high"] < 0
    assert isinstance(answer["peak_memory_mib"], int)
    assert answer["peak_memory_mib"] < 8192


def test_the_printed_commands_work(finished: tuple[Path, dict[str, object]]) -> None:
    folder, answer = finished
    summary = json.loads((folder / str(answer["run"]) / "summary.json").read_text())
    for command in summary["commands"]:
        done = subprocess.run(
            ["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (command, done.stderr)


def test_completion_is_exactly_the_streamed_text(
    finished: tuple[Path, dict[str, object]],
) -> None:
    folder, _ = finished
    hole = ("--prefix", "def add(a, b):\n    return ", "--suffix", "\n", "--language", "Python")
    whole = run(folder, "complete", *hole)
    streamed = run(folder, "complete", *hole, "--stream")
    answer = run(folder, "complete", *hole, "--json")
    assert whole.returncode == streamed.returncode == 0
    assert whole.stdout == streamed.stdout == json.loads(answer.stdout)["text"]


def test_the_built_set_is_clean(finished: tuple[Path, dict[str, object]]) -> None:
    folder, answer = finished
    checked = run(folder, "data", "check", f"{answer['run']}/data", "--json")
    assert checked.returncode == 0
    assert json.loads(checked.stdout)["ok"] is True
