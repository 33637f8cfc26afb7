from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from fim.errors import DataError, InterruptedRunError
from fim.runs import RunFolder
from fim.training.interrupts import InterruptGuard
from fim.training.meter import StepCounts, StepMeter, peak_memory_mib
from fim.training.precision import autocast_for, choose_optimizer
from fim.training.status import status_kept
from training_toys import ManualClock

if TYPE_CHECKING:
    from fim.model import LoadedModel


def test_speeds_are_those_since_the_last_reading() -> None:
    clock = ManualClock()
    meter = StepMeter(clock)
    for seconds in (1.0, 3.0):
        meter.begin_step()
        meter.count(StepCounts(rows=2, tokens=100, supervised_tokens=10))
        clock.now += seconds
        meter.end_step()
    assert meter.mean_step_seconds == 2.0
    assert meter.read() == {
        "tokens_per_second": 50.0,
        "supervised_tokens_per_second": 5.0,
        "holes_per_second": 1.0,
    }
    assert meter.read()["tokens_per_second"] == 0.0
    assert meter.total == StepCounts(4, 200, 20, 4.0)
    assert StepMeter(clock).mean_step_seconds == 0.0


def test_peak_memory_by_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    import torch

    used = SimpleNamespace(ru_maxrss=3 * 2**20)
    monkeypatch.setattr(resource, "getrusage", lambda who: used)
    monkeypatch.setattr(sys, "platform", "linux")
    assert peak_memory_mib("cpu") == 3 * 1024
    monkeypatch.setattr(sys, "platform", "darwin")
    assert peak_memory_mib("cpu") == 3
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda: 5 * 2**20)
    assert peak_memory_mib("cuda:0") == 5


@pytest.mark.parametrize(
    ("wanted", "device", "chosen"),
    [
        ("adamw_8bit", "cpu", "adamw_torch"),
        ("paged_lion_8bit", "cpu", "adamw_torch"),
        ("adamw_8bit", "cuda:0", "adamw_8bit"),
        ("sgd", "cpu", "sgd"),
    ],
)
def test_the_optimizer_fits_the_device(
    wanted: str, device: str, chosen: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert choose_optimizer(wanted, device) == chosen
    assert len(caplog.records) == (wanted != chosen)


@pytest.mark.parametrize(
    ("backend", "dtype", "is_on"),
    [
        ("transformers", "bfloat16", True),
        ("transformers", "float32", False),
        ("unsloth", "bfloat16", False),
    ],
)
def test_autocast_is_for_narrow_weights_of_the_plain_backend(
    backend: str, dtype: str, is_on: bool
) -> None:
    import torch

    loaded = cast("LoadedModel", SimpleNamespace(backend=backend, dtype=dtype, device="cpu"))
    with autocast_for(loaded)():
        assert torch.is_autocast_enabled("cpu") is is_on
    assert (autocast_for(loaded) is nullcontext) is not is_on


def test_the_first_signal_is_noted_and_the_second_raises() -> None:
    before = signal.getsignal(signal.SIGINT)
    guard = InterruptGuard()
    with guard:
        os.kill(os.getpid(), signal.SIGINT)
        assert guard.has_signal
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before


def test_another_thread_leaves_signals_alone() -> None:
    seen: list[object] = []

    def enter() -> None:
        with InterruptGuard():
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InterruptedRunError("stop"), "interrupted"),
        (KeyboardInterrupt(), "interrupted"),
        (DataError("bad rows"), "failed: bad rows"),
        (ZeroDivisionError("x"), "failed: unexpected error; see the log"),
    ],
)
def test_the_status_follows_what_happens(tmp_path: Path, error: BaseException, line: str) -> None:
    run = RunFolder.create_at(tmp_path / "run")
    with status_kept(run):
        pass
    assert run.status_file.read_text(encoding="utf-8").strip() == "running"
    with pytest.raises(type(error)), status_kept(run):
        raise error
    assert run.status_file.read_text(encoding="utf-8").strip() == line


def test_the_package_loads_nothing_heavy() -> None:
    code = "import fim.training, sys; sys.exit(bool({'torch', 'trl', 'peft'} & sys.modules.keys()))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment, timeout=60)
