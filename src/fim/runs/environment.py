"""What a run ran on: versions and machine facts, without names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGES = (
    "fim",
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "datasets",
    "bitsandbytes",
    "tokenizers",
    "safetensors",
    "unsloth",
    "unsloth_zoo",
    "triton",
    "xformers",
)
_CPU_FILE = Path("/proc/cpuinfo")


def collect_environment(
    facts: Mapping[str, object] | None = None, *, cpu_file: Path = _CPU_FILE
) -> dict[str, object]:
    """Return versions and machine facts as JSON-ready data.

    Args:
        facts: More facts to keep, such as the accelerator's.
        cpu_file: Where the kernel names the processor.
    """
    return {
        "python": platform.python_version(),
        "system": platform.system(),
        "architecture": platform.machine(),
        "processor": _processor(cpu_file),
        "cores": _num_cores(),
        "memory_mib": _memory_mib(),
        "packages": {name: _installed(name) for name in _PACKAGES},
        **(facts or {}),
    }


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor(cpu_file: Path) -> str:
    try:
        lines = cpu_file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_mib() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except (AttributeError, OSError, ValueError):
        return None
