"""``fim doctor``: facts, verdicts and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from fim.cli import machine as machine_module
from fim.cli.app import app
from fim.cli.diagnosis import Row, diagnose, fitting_preset, is_healthy, release
from fim.cli.machine import (
    PACKAGES,
    Gpu,
    Machine,
    TorchState,
    cpu_bfloat16,
    inspect_machine,
    installed_version,
    memory_mib,
    nvidia_gpu,
    parse_gpu,
    torch_state,
)

INSTALLED = {
    "torch": "2.13.0+cpu",
    "transformers": "5.23.0",
    "trl": "1.16.0",
    "peft": "0.21.2",
    "datasets": "5.2.0",
    "bitsandbytes": "0.50.2",
    "unsloth": None,
}
OWN = Path("/venv/bin/fim")
CPU = Machine(
    python=(3, 11, 7),
    fim_version="0.1.0",
    packages=INSTALLED,
    torch=TorchState(num_threads=2, has_cuda=False),
    gpu=None,
    cpu_bfloat16="amx_bf16",
    c_compiler="/usr/bin/cc",
    memory_mib=16_000,
    disk_free_mib=50_000,
    hub_token_place=None,
    embedded_model=None,
    cache_dir=Path("/cache"),
    cache_problem="",
    command_path=OWN,
    own_command_path=OWN,
    num_setting_problems=0,
)
CARD = Gpu("NVIDIA RTX 4090", 24_564, has_bfloat16=True, driver="580.65.06")
CUDA = replace(
    CPU,
    torch=TorchState(num_threads=16, has_cuda=True, cuda_version="13.0"),
    gpu=CARD,
    packages={**INSTALLED, "unsloth": "2026.10.9"},
)
NAMES = [
    "Python",
    "fim",
    "settings",
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "bitsandbytes",
    "C compiler",
    "unsloth",
    "driver",
    "accelerator",
    "memory",
    "disk",
    "hub token",
    "cache",
    "embedded model",
    "command",
    "preset",
]


def row(machine: Machine, name: str) -> Row:
    """Return one row of the diagnosis."""
    return next(item for item in diagnose(machine) if item.name == name)


@pytest.mark.parametrize("machine", [CPU, CUDA], ids=["cpu", "cuda"])
def test_a_good_machine_is_healthy(machine: Machine) -> None:
    rows = diagnose(machine)
    assert [item.name for item in rows] == NAMES
    assert {item.status for item in rows} == {"ok"}
    assert is_healthy(rows)
    assert all(item.fix == "" for item in rows)


def with_package(machine: Machine, name: str, version: str | None) -> Machine:
    """Return a machine with another version of a package."""
    return replace(machine, packages={**machine.packages, name: version})


@pytest.mark.parametrize(
    ("machine", "name", "status", "value", "fix"),
    [
        (replace(CPU, python=(3, 10, 1)), "Python", "fail", "3.10.1", "3.11"),
        (replace(CPU, num_setting_problems=2), "settings", "fail", "2 to", "fim config check"),
        (with_package(CPU, "torch", None), "torch", "fail", "not installed", "fim[train]"),
        (replace(CPU, torch=None), "torch", "fail", "cannot be imported", "fim[train]"),
        (replace(CPU, cpu_bfloat16=""), "torch", "ok", "no fast bfloat16", ""),
        (with_package(CPU, "peft", None), "peft", "fail", "not installed", "fim[train]"),
        (with_package(CPU, "trl", "1.15.2"), "trl", "fail", "cannot train on the CPU", "1.16"),
        (with_package(CUDA, "trl", "1.15.2"), "trl", "ok", "1.15.2", ""),
        (with_package(CPU, "trl", None), "trl", "fail", "not installed", "fim[train]"),
        (with_package(CPU, "bitsandbytes", None), "bitsandbytes", "warn", "4-bit", "fim[train]"),
        (CPU, "C compiler", "ok", "/usr/bin/cc", ""),
        (replace(CPU, c_compiler=None), "C compiler", "ok", "not needed", ""),
        (replace(CPU, c_compiler=None, cpu_bfloat16=""), "C compiler", "warn", "slower", "gcc"),
        (with_package(CUDA, "unsloth", None), "unsloth", "warn", "slower", "fim[gpu]"),
        (with_package(CUDA, "unsloth", "2025.9.1"), "unsloth", "fail", "2026.10.7", "fim[gpu]"),
        (CPU, "driver", "ok", "580 or newer for CUDA 13", ""),
        (CUDA, "driver", "ok", "580.65.06, fits torch's CUDA 13.0", ""),
        (replace(CPU, gpu=CARD), "driver", "ok", "CUDA 13 needs 580 or newer", ""),
        (
            replace(
                CUDA,
                gpu=replace(CARD, driver="550.54.14"),
                torch=TorchState(num_threads=2, has_cuda=False, cuda_version="13.0"),
            ),
            "driver",
            "fail",
            "550.54.14, too old for torch's CUDA 13.0, which needs 580 or newer",
            "update the NVIDIA driver to 580 or newer",
        ),
        (replace(CPU, gpu=CARD), "accelerator", "warn", "torch cannot use it", "fim[gpu]"),
        (replace(CUDA, gpu=None), "accelerator", "warn", "nvidia-smi", ""),
        (CUDA, "accelerator", "ok", "NVIDIA RTX 4090, 24,564 MiB", ""),
        (replace(CPU, memory_mib=2_000), "memory", "warn", "2,000 MiB", "4,000"),
        (replace(CPU, memory_mib=None), "memory", "ok", "unknown", ""),
        (replace(CPU, disk_free_mib=100), "disk", "fail", "100 MiB", "make room"),
        (replace(CPU, disk_free_mib=1_000), "disk", "warn", "1,000 MiB", "make room"),
        (replace(CPU, hub_token_place="HF_TOKEN"), "hub token", "ok", "HF_TOKEN", ""),
        (
            replace(CPU, cache_problem="Read-only file system"),
            "cache",
            "warn",
            "/cache cannot be written (Read-only file system)",
            "export FIM_CACHE_DIR=",
        ),
        (replace(CPU, embedded_model=Path("m.gguf")), "embedded model", "ok", "m.gguf", ""),
        (replace(CPU, command_path=None), "command", "warn", "no fim on PATH", str(OWN)),
        (
            replace(CPU, command_path=Path("/usr/bin/fim")),
            "command",
            "warn",
            "/usr/bin/fim shadows /venv/bin/fim",
            "fim-tune",
        ),
        (CPU, "preset", "ok", "cpu fits here", ""),
        (CUDA, "preset", "ok", "24gb fits here", ""),
    ],
)
def test_verdicts(machine: Machine, name: str, status: str, value: str, fix: str) -> None:
    found = row(machine, name)
    assert found.status == status
    assert value in found.value
    assert fix in found.fix
    assert is_healthy(diagnose(machine)) is (status != "fail")


def test_a_gpu_that_torch_cannot_use_does_not_pick_the_preset() -> None:
    assert fitting_preset(replace(CPU, gpu=CARD)).name == "cpu"


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("2.13.0+cpu", (2, 13, 0)), ("1.15rc1", (1, 15)), ("2026.10.7", (2026, 10, 7)), ("dev", ())],
)
def test_numbers_of_a_version(version: str, numbers: tuple[int, ...]) -> None:
    assert release(version) == numbers


@pytest.mark.parametrize(
    ("listing", "gpu"),
    [
        (
            "Tesla T4, 15360, 7.5, 580.65.06\n",
            Gpu("Tesla T4", 15_360, has_bfloat16=False, driver="580.65.06"),
        ),
        (
            "H100, PCIe, 81559, 9.0, 550.1\nother, 1, 1, 1\n",
            Gpu("H100, PCIe", 81_559, has_bfloat16=True, driver="550.1"),
        ),
        ("", None),
        ("No devices were found\n", None),
        ("GPU, [N/A], 9.0", None),
    ],
)
def test_listing_of_the_driver(listing: str, gpu: Gpu | None) -> None:
    assert parse_gpu(listing) == gpu


def fake_driver(folder: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program called nvidia-smi first on PATH."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_driver_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, "echo 'Tesla T4, 15360, 7.5, 580.65.06'", monkeypatch)
    assert nvidia_gpu() == Gpu("Tesla T4", 15_360, has_bfloat16=False, driver="580.65.06")


def test_driver_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_driver(tmp_path, "exit 9", monkeypatch)
    assert nvidia_gpu() is None


def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia_gpu() is None


def test_torch_that_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    assert torch_state() is None


def test_torch_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {
        "get_num_threads": lambda: 3,
        "cuda": SimpleNamespace(is_available=lambda: True),
        "version": SimpleNamespace(cuda="13.0"),
    }
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(**facts))
    assert torch_state() == TorchState(num_threads=3, has_cuda=True, cuda_version="13.0")


def test_versions_are_read_without_an_import() -> None:
    assert installed_version("pydantic")
    assert installed_version("no-such-package-anywhere") is None


def test_cpu_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("flags : fpu avx512_bf16 sse\n", encoding="utf-8")
    assert cpu_bfloat16(info) == "avx512_bf16"
    info.write_text("flags : fpu\n", encoding="utf-8")
    assert cpu_bfloat16(info) == ""
    monkeypatch.setattr(machine_module.platform, "system", lambda: "Darwin")
    assert cpu_bfloat16(info) == ""


def test_memory_of_the_machine_and_of_its_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = memory_mib(tmp_path / "missing")
    limit = tmp_path / "memory.max"
    limit.write_text("max\n", encoding="ascii")
    assert memory_mib(limit) == total
    limit.write_text(f"{512 * 2**20}\n", encoding="ascii")
    assert memory_mib(limit) == 512

    def refuse(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr(machine_module.os, "sysconf", refuse)
    assert memory_mib(limit) is None


def test_facts_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "embedded").mkdir()
    (tmp_path / "embedded" / "model.gguf").write_bytes(b"")
    monkeypatch.setattr(machine_module, "torch_state", lambda: None)
    facts = inspect_machine(
        fim_version="9",
        cache_dir=tmp_path,
        hub_token_place="HF_TOKEN",
        c_compiler="/bin/cc",
        num_setting_problems=1,
    )
    assert facts.embedded_model == tmp_path / "embedded" / "model.gguf"
    assert set(facts.packages) == set(PACKAGES)
    assert facts.python == sys.version_info[:3]
    assert facts.disk_free_mib > 0
    assert (facts.fim_version, facts.hub_token_place, facts.num_setting_problems) == (
        "9",
        "HF_TOKEN",
        1,
    )


@pytest.fixture
def _sick_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        machine_module, "inspect_machine", lambda **facts: with_package(CPU, "torch", None)
    )


@pytest.fixture
def _well_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine_module, "inspect_machine", lambda **facts: CPU)


@pytest.mark.usefixtures("_well_machine")
def test_doctor_answers_with_a_table() -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert "not installed, not needed" in " ".join(result.stdout.split())
    assert max(len(line) for line in result.stdout.splitlines()) <= 80


@pytest.mark.usefixtures("_sick_machine")
def test_doctor_answers_as_json_and_fails_with_the_machine() -> None:
    result = CliRunner().invoke(app, ["doctor", "--json"])
    answer = json.loads(result.stdout)
    assert result.exit_code == 4
    assert answer["ok"] is False
    assert [item["name"] for item in answer["rows"]] == NAMES
    assert answer["rows"][3] == {
        "name": "torch",
        "status": "fail",
        "value": "not installed",
        "fix": 'pip install "fim[train]"',
    }


def test_doctor_works_with_broken_settings(tmp_path: Path) -> None:
    (tmp_path / "fim.toml").write_text("[train\n", encoding="utf-8")
    code = (
        "import fim.cli.machine as machine\n"
        "machine.torch_state = lambda: None\n"
        "from fim.cli.app import main; main(['doctor', '--json'])\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    rows = {item["name"]: item for item in json.loads(result.stdout)["rows"]}
    assert result.returncode == 4
    assert rows["settings"]["fix"] == "fim config check"
