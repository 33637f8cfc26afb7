"""What this machine has: packages, accelerator, memory, disk. Facts only, no judgement."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fim.runs.writing import why_not_writable

PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "bitsandbytes",
    "unsloth",
)
_MIB = 2**20
_NVIDIA_SMI_TIMEOUT_SECONDS = 20
_NVIDIA_SMI_QUERY = (
    "--query-gpu=name,memory.total,compute_cap,driver_version",
    "--format=csv,noheader,nounits",
)
_FIRST_BFLOAT16_CAPABILITY = 8.0
_CPU_BFLOAT16_FLAGS = ("amx_bf16", "avx512_bf16")


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first accelerator that the driver reports, and the driver's version."""

    name: str
    vram_mib: int
    has_bfloat16: bool
    driver: str


@dataclass(frozen=True, slots=True)
class TorchState:
    """What the installed torch can do here, and the CUDA that it was built for."""

    num_threads: int
    has_cuda: bool
    cuda_version: str | None = None


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that ``fim doctor`` judges.

    Args:
        python: Version of the interpreter.
        fim_version: Version of this package.
        packages: Installed version by package; None when absent.
        torch: State of torch; None when it cannot be imported.
        gpu: Accelerator that the driver reports, whatever torch thinks of it.
        cpu_bfloat16: Instruction set that makes bfloat16 fast on the CPU; empty when none is known.
        c_compiler: Path of a C compiler; None without one.
        memory_mib: Memory of the machine or of its container; None when unknown.
        disk_free_mib: Free space in the working directory.
        hub_token_place: Where the hub library finds a token.
        embedded_model: File of the embedded model in the cache.
        cache_dir: Folder of what is made or fetched once.
        cache_problem: Why nothing can be written there; empty where it can.
        command_path: Program that the shell starts as ``fim``.
        own_command_path: Program that belongs to this interpreter.
        num_setting_problems: Problems that ``fim config check`` finds.
    """

    python: tuple[int, int, int]
    fim_version: str
    packages: Mapping[str, str | None]
    torch: TorchState | None
    gpu: Gpu | None
    cpu_bfloat16: str
    c_compiler: str | None
    memory_mib: int | None
    disk_free_mib: int
    hub_token_place: str | None
    embedded_model: Path | None
    cache_dir: Path
    cache_problem: str
    command_path: Path | None
    own_command_path: Path
    num_setting_problems: int


def inspect_machine(
    *,
    fim_version: str,
    cache_dir: Path,
    hub_token_place: str | None,
    c_compiler: str | None,
    num_setting_problems: int,
) -> Machine:
    """Collect the facts; torch is imported only where it is installed.

    Args:
        fim_version: Version of this package.
        cache_dir: Folder of what is made or fetched once.
        hub_token_place: Where a hub token was found.
        c_compiler: Path of a C compiler.
        num_setting_problems: Problems of the settings.
    """
    packages = {name: installed_version(name) for name in PACKAGES}
    found = shutil.which("fim")
    return Machine(
        python=sys.version_info[:3],
        fim_version=fim_version,
        packages=packages,
        torch=torch_state() if packages["torch"] else None,
        gpu=nvidia_gpu(),
        cpu_bfloat16=cpu_bfloat16(Path("/proc/cpuinfo")),
        c_compiler=c_compiler,
        memory_mib=memory_mib(Path("/sys/fs/cgroup/memory.max")),
        disk_free_mib=shutil.disk_usage(Path.cwd()).free // _MIB,
        hub_token_place=hub_token_place,
        embedded_model=next(iter(sorted(cache_dir.glob("**/*.gguf"))), None),
        cache_dir=cache_dir,
        cache_problem=why_not_writable(cache_dir),
        command_path=Path(found) if found else None,
        own_command_path=Path(sys.executable).parent / "fim",
        num_setting_problems=num_setting_problems,
    )


def installed_version(package: str) -> str | None:
    """Return the installed version of a package without importing it."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def torch_state() -> TorchState | None:
    """Return what torch can do here, or None when it cannot be imported."""
    try:
        import torch
    except (ImportError, OSError):
        return None
    return TorchState(
        num_threads=torch.get_num_threads(),
        has_cuda=torch.cuda.is_available(),
        cuda_version=torch.version.cuda,
    )


def nvidia_gpu() -> Gpu | None:
    """Return the first GPU of the NVIDIA driver, or None without a driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        answer = subprocess.run(  # noqa: S603
            [program, *_NVIDIA_SMI_QUERY],
            capture_output=True,
            text=True,
            check=True,
            timeout=_NVIDIA_SMI_TIMEOUT_SECONDS,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_gpu(answer.stdout)


def parse_gpu(listing: str) -> Gpu | None:
    """Return the first GPU of ``name, MiB, compute capability, driver`` lines."""
    cells = [cell.strip() for cell in listing.partition("\n")[0].rsplit(",", 3)]
    try:
        name, memory, capability, driver = cells
        return Gpu(name, int(memory), float(capability) >= _FIRST_BFLOAT16_CAPABILITY, driver)
    except ValueError:
        return None


def cpu_bfloat16(cpuinfo: Path) -> str:
    """Return the instruction set that makes bfloat16 fast, from Linux's list of CPU flags."""
    if platform.system() != "Linux" or not cpuinfo.is_file():
        return ""
    flags = set(cpuinfo.read_text(encoding="utf-8", errors="replace").split())
    return next((flag for flag in _CPU_BFLOAT16_FLAGS if flag in flags), "")


def memory_mib(cgroup_limit: Path) -> int | None:
    """Return the memory that this process may use: the machine's or its container's."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    limit = cgroup_limit.read_text(encoding="ascii").strip() if cgroup_limit.is_file() else "max"
    return (min(total, int(limit)) if limit.isdecimal() else total) // _MIB
