"""Two processes under torchrun, over gloo on the CPU, are one process that accumulates twice.

They stop together too: whichever of them is told to, and whoever's clock says so.
"""

from __future__ import annotations

import json
import os
import signal
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
    is_same_adapter,
    toy_loaded,
    toy_rows,
    toy_settings,
    toy_trainer,
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


def held_by_processes(out: str) -> list[tuple[str, str]]:
    """Return each process's steps and hash of its weights."""
    told = [line.split()[1:] for line in out.splitlines() if line.startswith("process ")]
    assert sorted(rank for rank, *_ in told) == ["0", "1"]
    return [(steps, weights) for _, steps, weights in told]


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
    assert [line for line in out.splitlines() if line.isdigit()] == ["0", "1", "2", "3", "4"]
    assert len(set(held_by_processes(out))) == 1
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


LONG = {**SETTINGS, "max_steps": 10, "save_steps": 100, "packing": "none"}


def ended(process: subprocess.Popen[str]) -> str:
    """Return what a launch that worked wrote."""
    with process:
        out, err = process.communicate(timeout=200)
    assert process.returncode == 0, err[-3000:]
    return out


@pytest.fixture(scope="module")
def whole(learner: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts."""
    run = tmp_path_factory.mktemp("whole") / "run"
    ended(launch(learner, run, "--settings", json.dumps(LONG), "--delay", "0"))
    return run


def stop_by_launcher(learner: Path, run: Path, number: signal.Signals) -> None:
    """Signal the launcher once the third step is done, as a person or a scheduler does."""
    options = ("--settings", json.dumps(LONG), "--delay", "0.5")
    with launch(learner, run, *options) as process:
        assert process.stdout is not None
        while (line := process.stdout.readline().strip()) != "3":
            assert line or process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=100)
    assert process.returncode != 0


def stop_one_process(learner: Path, run: Path) -> None:
    """Let the process that does not write get a signal of its own after the third step."""
    options = ("--settings", json.dumps(LONG), "--delay", "0", "--interrupted-rank", "1")
    with launch(learner, run, *options) as process:
        out, _ = process.communicate(timeout=200)
    assert process.returncode != 0
    assert out.count("Training was stopped; its state is in") == 2
    assert (run / "checkpoints" / "checkpoint-3").is_dir()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", ["SIGINT", "SIGTERM", "one process"])
def test_a_signal_stops_all_processes_at_one_step_and_they_resume(
    learner: Path, whole: Path, tmp_path: Path, who: str
) -> None:
    run = tmp_path / "run"
    if who == "one process":
        stop_one_process(learner, run)
    else:
        stop_by_launcher(learner, run, signal.Signals[who])
    (checkpoint,) = (run / "checkpoints").iterdir()
    assert 3 <= int(checkpoint.name.removeprefix("checkpoint-")) < 10
    assert RunFolder.open(run).status.state == "interrupted"
    options = ("--settings", json.dumps(LONG), "--delay", "0", "--resume", "last")
    ended(launch(learner, run, *options))
    assert is_same_adapter(whole, run)
    assert figures(whole) == figures(run)


@pytest.mark.slow
@pytest.mark.parametrize("fast_rank", [0, 1])
def test_the_clock_of_any_process_ends_all_of_them(
    learner: Path, tmp_path: Path, fast_rank: int
) -> None:
    settings = {**LONG, "max_steps": 1000, "max_minutes": 2.0, "eval_steps": 500}
    options = ("--settings", json.dumps(settings), "--delay", "0", "--fast-rank", str(fast_rank))
    out = ended(launch(learner, tmp_path / "run", *options))
    ((steps, _),) = set(held_by_processes(out))
    assert 1 < int(steps) < 100
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert checkpoint.name == f"checkpoint-{steps}"
