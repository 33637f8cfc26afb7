"""What a benchmark ran on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("fim", "torch", "transformers", "trl", "peft", "accelerate")


def describe_machine() -> dict[str, object]:
    """Return processor, cores, memory and system."""
    import torch

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "bfloat16_matrix_gflops": round(_matrix_gflops("bfloat16")),
        "float32_matrix_gflops": round(_matrix_gflops("float32")),
    }


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that matter."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    """Return the name of the processor."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return platform.processor()
    lines = info.read_text(encoding="utf-8").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if "model name" in line), "")


def _matrix_gflops(dtype: str) -> float:
    """Return the measured rate of matrix products of the size that training has."""
    import time

    import torch

    kind = getattr(torch, dtype)
    left, right = torch.randn(2048, 1536).to(kind), torch.randn(1536, 1536).to(kind)
    rates = []
    for _ in range(6):
        began = time.perf_counter()
        left @ right
        rates.append(2 * 2048 * 1536 * 1536 / (time.perf_counter() - began) / 1e9)
    return max(rates)
