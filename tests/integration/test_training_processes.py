"""Two processes under torchrun, over gloo on the CPU, are one process that accumulates twice."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fim.runs import RunFolder
from fim.runs.writing import read_json
from packing_toys import document_rows
from training_toys import (
    adapter_weights,
    toy_loaded,
    toy_rows,
    toy_settings,
    toy_trainer,
    write_learner,
)

TESTS = Path(__file__).resolve().parents[1]
SETTINGS: dict[str, object] = {
    "max_steps": 4,
    "eval_steps": 2,
    "save_steps": 2,
    "group_by_length": False,
}
WAYS: dict[str, dict[str, object]] = {
    "rows": {"packing": "none", "per_device_train_batch_size": 2},
    "token budget": {
        "packing": "none",
        "per_device_train_batch_size": 2,
        "max_tokens_per_batch": 30,
    },
    "bfd": {"packing": "bfd", "per_device_train_batch_size": 4},
    "tree": {"packing": "tree", "per_device_train_batch_size": 4, "packing_tokens": 90},
}


@pytest.fixture(scope="session")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_learner(tmp_path_factory.mktemp("processes-toy"))


def launch(model: Path, run: Path, *options: str, num: int = 2) -> subprocess.Popen[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    places = os.pathsep.join([str(TESTS), *sys.path])
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={num}"]
    command += [f"--master-port={port}", str(TESTS / "training_child.py"), str(model), str(run)]
    return subprocess.Popen(
        [*command, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": places,
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONWARNINGS": "ignore",
        },
    )


def figures(run: Path) -> list[dict[str, float]]:
    names = ("step", "loss", "learning_rate", "grad_norm", "eval_loss")
    return [
        {name: float(str(row[name])) for name in names if name in row}
        for row in RunFolder.open(run).read_metrics()
    ]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_are_one_with_twice_the_accumulation(
    learner: Path, tmp_path: Path, way: str
) -> None:
    rows = document_rows(4, 4, num_tokens=50) if way in {"bfd", "tree"} else toy_rows()
    settings = {**SETTINGS, **WAYS[way]}
    doubled = {**settings, "gradient_accumulation_steps": 2}
    one = toy_trainer(
        toy_loaded(learner),
        tmp_path / "one",
        rows=rows,
        eval_rows=toy_rows(4, seed=5),
        settings=toy_settings(**doubled),
    ).train()
    documents = ("--documents",) if way in {"bfd", "tree"} else ()
    options = ("--settings", json.dumps(settings), "--delay", "0", *documents)
    with launch(learner, tmp_path / "two", *options) as process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err[-3000:]
    assert [line for line in out.split() if line.isdigit()] == ["0", "1", "2", "3", "4"]
    expected, found = figures(tmp_path / "one"), figures(tmp_path / "two")
    assert len(found) == len(expected) == 6
    for ours, theirs in zip(found, expected, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)
    first, second = (adapter_weights(tmp_path / name / "adapter") for name in ("one", "two"))
    gap = max(float((first[name] - second[name]).abs().max()) for name in first)
    assert gap < 1e-5
    run = RunFolder.open(tmp_path / "two")
    manifest = read_json(run.data_manifest)
    assert manifest is not None
    assert manifest["packing"]["packing"] == one.packing  # type: ignore[index]
    checkpoints = {path.name for path in run.checkpoints.iterdir()}
    assert checkpoints == {"checkpoint-2", "checkpoint-4"}
    kept = {path.name for path in (run.checkpoints / "checkpoint-4").iterdir()}
    assert {"rng_state_0.pth", "rng_state_1.pth", "fim_checkpoint.json"} <= kept
