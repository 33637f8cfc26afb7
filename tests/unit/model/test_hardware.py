from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fim.errors import InvalidSettingError, MissingExtraError
from fim.model import Hardware, choose_dtype, detect_hardware
from fim.model.hardware import (
    driver_obstacle,
    driver_version,
    require_packages,
    spare_fragments,
    torch_dtype,
)

CASES = [
    (Hardware("cuda", name="A100", has_bfloat16=True), "bfloat16", "A100 computes"),
    (Hardware("cuda", name="T4"), "float16", "T4 has no bfloat16"),
    (Hardware("cpu", has_bfloat16=True), "bfloat16", "in hardware"),
    (Hardware("cpu"), "float32", "no bfloat16 instructions"),
]


@pytest.mark.parametrize(("hardware", "dtype", "reason"), CASES)
def test_dtype_follows_the_hardware_and_says_why(
    hardware: Hardware, dtype: str, reason: str
) -> None:
    choice = choose_dtype(None, hardware)
    assert choice.name == dtype
    assert reason in choice.reason
    assert choose_dtype("float16", hardware).name == "float16"


def test_bfloat16_is_refused_on_a_gpu_without_it() -> None:
    with pytest.raises(InvalidSettingError, match="bfloat16, which T4 cannot compute") as caught:
        choose_dtype("bfloat16", Hardware("cuda", name="T4"))
    assert "FIM_MODEL_DTYPE=float16" in caught.value.hint
    assert choose_dtype("bfloat16", Hardware("cpu")).name == "bfloat16"


@pytest.mark.parametrize(
    ("cuda", "driver", "told"),
    [
        ("13.0", "550.54.14", "driver is 550.54.14, and torch for CUDA 13.0 needs 580"),
        ("12.8", "470.42", "needs 525"),
        ("13.0", "580.65.06", ""),
        ("14.2", "600.1", ""),
        (None, "580.65.06", "torch was built without CUDA"),
        ("13.0", None, ""),
    ],
)
def test_a_driver_that_is_too_old(cuda: str | None, driver: str | None, told: str) -> None:
    found = driver_obstacle(cuda, driver)
    assert told in found
    assert bool(told) == bool(found)


def test_the_driver_by_the_kernels_own_words(tmp_path: Path) -> None:
    facts = tmp_path / "version"
    assert driver_version(facts) is None
    facts.write_text(
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n"
        "GCC version:  gcc version 12.3.0\n"
    )
    assert driver_version(facts) == "580.65.06"
    facts.write_text("nothing")
    assert driver_version(facts) is None


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}),
        ({"PYTORCH_CUDA_ALLOC_CONF": "x"}, {"PYTORCH_CUDA_ALLOC_CONF": "x"}),
        ({"PYTORCH_ALLOC_CONF": "x"}, {"PYTORCH_ALLOC_CONF": "x"}),
    ],
)
def test_the_allocator_spares_fragments_unless_it_was_set_up(
    before: dict[str, str], after: dict[str, str]
) -> None:
    spare_fragments(before)
    assert before == after


def test_unknown_dtype_is_refused() -> None:
    with pytest.raises(InvalidSettingError, match="'int3'") as caught:
        choose_dtype("int3", Hardware("cpu"))
    assert "float32|bfloat16|float16" in caught.value.hint


def test_torch_dtypes() -> None:
    assert torch_dtype("bfloat16") is torch.bfloat16


def test_hardware_of_a_gpu_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = SimpleNamespace(name="H200", total_memory=140 << 30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: facts)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    hardware = detect_hardware()
    assert hardware.as_json() == {
        "accelerator": "cuda",
        "name": "H200",
        "num_accelerators": 2,
        "memory_mib": 140 << 10,
        "has_bfloat16": True,
        "num_cores": hardware.num_cores,
        "obstacle": "",
    }


@pytest.mark.parametrize("has_amx", [True, False])
def test_hardware_of_a_cpu_machine(monkeypatch: pytest.MonkeyPatch, has_amx: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_amx})
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    hardware = detect_hardware()
    assert (hardware.accelerator, hardware.has_bfloat16) == ("cpu", has_amx)
    assert hardware.num_cores == (os.cpu_count() or 1)


def test_missing_packages_name_the_pip_line() -> None:
    require_packages("torch")
    with pytest.raises(MissingExtraError, match="no_such_a, no_such_b") as caught:
        require_packages("torch", "no_such_a", "no_such_b", extra="gpu")
    assert caught.value.hint == 'pip install "fim[gpu]"'
    assert caught.value.exit_code == 4
