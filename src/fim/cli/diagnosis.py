"""What the facts about a machine mean: one row per fact with a verdict and what to do. Pure."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fim.cli.machine import Machine
from fim.config import PRESETS, Preset, preset_for

UNSLOTH_FLOOR = (2026, 10, 7)
PYTHON_FLOOR = (3, 11)
BROKEN_TRL = (1, 15)
_LITTLE_MEMORY_MIB = 4_000
_LITTLE_DISK_MIB = 5_000
_NO_DISK_MIB = 500
_TRAIN_FIX = 'pip install "fim[train]"'
_COMPILER_FIX = "install gcc or clang"
_GPU_FIX = 'pip install "fim[gpu]"'


class Status(StrEnum):
    """Verdict on a row."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the diagnosis.

    Args:
        name: What was looked at.
        status: The verdict.
        value: What was found.
        fix: What to do; empty when there is nothing to do.
    """

    name: str
    status: Status
    value: str
    fix: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the row as ``fim doctor --json`` prints it."""
        return {"name": self.name, "status": self.status, "value": self.value, "fix": self.fix}


def diagnose(machine: Machine) -> tuple[Row, ...]:
    """Judge the facts, one row each, from Python to the preset that fits."""
    return (
        _python(machine),
        Row("fim", Status.OK, machine.fim_version),
        _settings(machine),
        _torch(machine),
        _needed(machine, "transformers"),
        _trl(machine),
        _needed(machine, "peft"),
        _needed(machine, "datasets"),
        _bitsandbytes(machine),
        _c_compiler(machine),
        _unsloth(machine),
        _driver(machine),
        _accelerator(machine),
        _memory(machine),
        _disk(machine),
        _hub_token(machine),
        _cache(machine),
        _embedded_model(machine),
        _command(machine),
        _preset(machine),
    )


def is_healthy(rows: Sequence[Row]) -> bool:
    """Tell whether no row fails."""
    return all(row.status is not Status.FAIL for row in rows)


def fitting_preset(machine: Machine) -> Preset:
    """Return the largest preset that fits the accelerator that torch can use."""
    if machine.gpu is None or not _has_cuda(machine):
        return PRESETS["cpu"]
    return preset_for(machine.gpu.vram_mib, has_bfloat16=machine.gpu.has_bfloat16)


def release(version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with: ``2.13.0+cpu`` is ``(2, 13, 0)``."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


def _has_cuda(machine: Machine) -> bool:
    return machine.torch is not None and machine.torch.has_cuda


def _python(machine: Machine) -> Row:
    value = ".".join(str(part) for part in machine.python)
    if machine.python[:2] < PYTHON_FLOOR:
        return Row("Python", Status.FAIL, value, "install Python 3.11 or newer")
    return Row("Python", Status.OK, value)


def _settings(machine: Machine) -> Row:
    if machine.num_setting_problems:
        value = f"{machine.num_setting_problems} to correct"
        return Row("settings", Status.FAIL, value, "fim config check")
    return Row("settings", Status.OK, "no problem")


def _torch(machine: Machine) -> Row:
    installed = machine.packages["torch"]
    if installed is None:
        return Row("torch", Status.FAIL, "not installed", _TRAIN_FIX)
    if machine.torch is None:
        return Row("torch", Status.FAIL, f"{installed}, cannot be imported", _TRAIN_FIX)
    bfloat16 = machine.cpu_bfloat16 or "no fast"
    value = f"{installed}, {machine.torch.num_threads} CPU threads, {bfloat16} bfloat16 on the CPU"
    return Row("torch", Status.OK, value)


def _needed(machine: Machine, package: str) -> Row:
    installed = machine.packages[package]
    if installed is None:
        return Row(package, Status.FAIL, "not installed", _TRAIN_FIX)
    return Row(package, Status.OK, installed)


def _trl(machine: Machine) -> Row:
    installed = machine.packages["trl"]
    if installed and release(installed)[:2] == BROKEN_TRL and not _has_cuda(machine):
        value = f"{installed}, which cannot train on the CPU"
        return Row("trl", Status.FAIL, value, 'pip install "trl>=1.16"')
    return _needed(machine, "trl")


def _bitsandbytes(machine: Machine) -> Row:
    installed = machine.packages["bitsandbytes"]
    if installed is None:
        value = "not installed: no 4-bit models, no 8-bit optimizers"
        return Row("bitsandbytes", Status.WARN, value, _TRAIN_FIX)
    return Row("bitsandbytes", Status.OK, installed)


def _c_compiler(machine: Machine) -> Row:
    if machine.c_compiler is not None:
        return Row("C compiler", Status.OK, machine.c_compiler)
    if _has_cuda(machine) or machine.cpu_bfloat16:
        return Row("C compiler", Status.OK, "not found, not needed here")
    value = "not found: completions on this CPU are slower without it"
    return Row("C compiler", Status.WARN, value, _COMPILER_FIX)


def _unsloth(machine: Machine) -> Row:
    installed = machine.packages["unsloth"]
    if installed is None:
        if _has_cuda(machine):
            value = "not installed: training is slower without it"
            return Row("unsloth", Status.WARN, value, _GPU_FIX)
        return Row("unsloth", Status.OK, "not installed, not needed without an accelerator")
    if release(installed) < UNSLOTH_FLOOR:
        floor = ".".join(str(part) for part in UNSLOTH_FLOOR)
        return Row("unsloth", Status.FAIL, f"{installed}, older than {floor}", _GPU_FIX)
    return Row("unsloth", Status.OK, installed)


def _driver(machine: Machine) -> Row:
    from fim.model.hardware import LEAST_DRIVERS, driver_obstacle

    newest = max(LEAST_DRIVERS)
    needed = f"{LEAST_DRIVERS[newest]} or newer"
    if machine.gpu is None:
        return Row("driver", Status.OK, f"none; a GPU needs NVIDIA's, {needed} for CUDA {newest}")
    cuda = machine.torch.cuda_version if machine.torch is not None else None
    if cuda is not None and driver_obstacle(cuda, machine.gpu.driver):
        needed = f"{LEAST_DRIVERS[cuda.split('.', maxsplit=1)[0]]} or newer"
        value = f"{machine.gpu.driver}, too old for torch's CUDA {cuda}, which needs {needed}"
        return Row("driver", Status.FAIL, value, f"update the NVIDIA driver to {needed}")
    fits = f"fits torch's CUDA {cuda}" if cuda else f"CUDA {newest} needs {needed}"
    return Row("driver", Status.OK, f"{machine.gpu.driver}, {fits}")


def _accelerator(machine: Machine) -> Row:
    if machine.gpu is None:
        if _has_cuda(machine):
            return Row("accelerator", Status.WARN, "torch has one, nvidia-smi does not answer")
        return Row("accelerator", Status.OK, "none: the preset cpu works here")
    value = f"{machine.gpu.name}, {machine.gpu.vram_mib:,} MiB"
    if not _has_cuda(machine):
        return Row("accelerator", Status.WARN, f"{value}, but torch cannot use it", _GPU_FIX)
    return Row("accelerator", Status.OK, value)


def _memory(machine: Machine) -> Row:
    if machine.memory_mib is None:
        return Row("memory", Status.OK, "unknown")
    value = f"{machine.memory_mib:,} MiB"
    if machine.memory_mib < _LITTLE_MEMORY_MIB:
        fix = f"use a machine with {_LITTLE_MEMORY_MIB:,} MiB for training"
        return Row("memory", Status.WARN, value, fix)
    return Row("memory", Status.OK, value)


def _disk(machine: Machine) -> Row:
    value = f"{machine.disk_free_mib:,} MiB free"
    if machine.disk_free_mib < _NO_DISK_MIB:
        return Row("disk", Status.FAIL, value, "make room, or work in another folder")
    if machine.disk_free_mib < _LITTLE_DISK_MIB:
        return Row("disk", Status.WARN, value, "make room before a large model is downloaded")
    return Row("disk", Status.OK, value)


def _hub_token(machine: Machine) -> Row:
    if machine.hub_token_place is None:
        return Row("hub token", Status.OK, "none: only gated models and uploads need one")
    return Row("hub token", Status.OK, f"found in {machine.hub_token_place}")


def _cache(machine: Machine) -> Row:
    if not machine.cache_problem:
        return Row("cache", Status.OK, str(machine.cache_dir))
    value = f"{machine.cache_dir} cannot be written ({machine.cache_problem}): nothing is kept"
    folder = Path(tempfile.gettempdir()) / "fim-cache"
    return Row("cache", Status.WARN, value, shlex.join(["export", f"FIM_CACHE_DIR={folder}"]))


def _embedded_model(machine: Machine) -> Row:
    if machine.embedded_model is None:
        return Row("embedded model", Status.OK, "not cached yet: fim quickstart gets it (93 MB)")
    return Row("embedded model", Status.OK, f"cached: {machine.embedded_model}")


def _command(machine: Machine) -> Row:
    own, found = machine.own_command_path, machine.command_path
    if found is None:
        return Row(
            "command", Status.WARN, "no fim on PATH", f"run {own}, or activate its environment"
        )
    if found.resolve() != own.resolve():
        value = f"{found} shadows {own}"
        return Row("command", Status.WARN, value, f"run {own}, or use fim-tune")
    return Row("command", Status.OK, str(found))


def _preset(machine: Machine) -> Row:
    preset = fitting_preset(machine)
    return Row("preset", Status.OK, f"{preset.name} fits here: memory {preset.memory}")
