"""What the machine can do, and which number type follows from it."""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fim.errors import InvalidSettingError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    import torch

DTYPES = ("float32", "bfloat16", "float16")
LEAST_DRIVERS = {"12": 525, "13": 580}
_DRIVER_FACTS = Path("/proc/driver/nvidia/version")
_DRIVER_VERSION = re.compile(r"\s(\d{3,4}\.\d+(?:\.\d+)?)\s")
_WINDOWS_MARK = "microsoft"
_CPU_BFLOAT16_CAPABILITIES = ("avx512_bf16", "amx_bf16", "amx_tile")


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine as far as models care.

    Args:
        accelerator: ``cuda`` or ``cpu``.
        name: Name of the first accelerator; empty without one.
        num_accelerators: How many accelerators there are.
        memory_mib: Memory of the first accelerator; 0 without one.
        has_bfloat16: The device multiplies bfloat16 in hardware.
        num_cores: Cores this process may use.
        obstacle: Why torch cannot use the GPU that is there; empty without such a GPU.
    """

    accelerator: Literal["cuda", "cpu"]
    name: str = ""
    num_accelerators: int = 0
    memory_mib: int = 0
    has_bfloat16: bool = False
    num_cores: int = 1
    obstacle: str = ""

    def as_json(self) -> dict[str, object]:
        """Return the facts as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DtypeChoice:
    """A number type and the reason it was chosen."""

    name: str
    reason: str


def detect_hardware() -> Hardware:
    """Look at the machine through torch, whose allocator is set up first.

    Raises:
        MissingExtraError: torch is not installed.
    """
    require_packages("torch")
    spare_fragments(os.environ)
    import torch

    if torch.cuda.is_available():
        facts = torch.cuda.get_device_properties(0)
        return Hardware(
            accelerator="cuda",
            name=str(facts.name),
            num_accelerators=torch.cuda.device_count(),
            memory_mib=int(facts.total_memory) >> 20,
            has_bfloat16=torch.cuda.is_bf16_supported(including_emulation=False),
            num_cores=_num_cores(),
        )
    return Hardware(
        accelerator="cpu",
        has_bfloat16=_cpu_has_bfloat16(),
        num_cores=_num_cores(),
        obstacle=driver_obstacle(torch.version.cuda, driver_version(_DRIVER_FACTS)),
    )


def spare_fragments(env: MutableMapping[str, str]) -> None:
    """Let torch's CUDA allocator grow its segments, unless the user has set it up.

    It reads the variable with the first CUDA call. Windows' Linux cannot do it.

    Args:
        env: The environment of the process.
    """
    is_set = any(name in env for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"))
    if not is_set and _WINDOWS_MARK not in os.uname().release.lower():
        env["PYTORCH_ALLOC_CONF"] = "expandable_segments:True"


def driver_version(facts: Path) -> str | None:
    """Return the version of the NVIDIA driver from the kernel's own words; None without one.

    Args:
        facts: The kernel's file about the driver.
    """
    try:
        found = _DRIVER_VERSION.search(facts.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return found.group(1) if found else None


def driver_obstacle(cuda_version: str | None, driver: str | None) -> str:
    """Return why a driver is too old for the CUDA that torch was built for; empty if it is not.

    Args:
        cuda_version: Such as ``13.0``; None for a torch without CUDA.
        driver: Such as ``580.65.06``; None without a driver.

    Source:
        Table 2 of NVIDIA's CUDA toolkit release notes (minimum driver for minor-version
        compatibility).
    """
    if driver is None:
        return ""
    if cuda_version is None:
        return (
            f"an NVIDIA driver ({driver}) is here, and the installed torch was built without CUDA"
        )
    least = LEAST_DRIVERS.get(cuda_version.split(".", maxsplit=1)[0])
    if least is None or int(driver.split(".", maxsplit=1)[0]) >= least:
        return ""
    return (
        f"the NVIDIA driver is {driver}, and torch for CUDA {cuda_version} needs {least} or newer"
    )


def choose_dtype(requested: str | None, hardware: Hardware) -> DtypeChoice:
    """Choose the number type of the model's weights and computation.

    Args:
        requested: One of ``DTYPES``, or None to follow the hardware.
        hardware: The machine.

    Raises:
        InvalidSettingError: The requested name is not a number type of models, or the GPU lacks
            it.
    """
    if requested is not None:
        if requested not in DTYPES:
            raise InvalidSettingError(
                f"model.dtype is {requested!r}, which is no number type that models use.",
                hint=f"FIM_MODEL_DTYPE={'|'.join(DTYPES)}, or leave it out to follow the machine.",
            )
        if requested == "bfloat16" and hardware.accelerator == "cuda" and not hardware.has_bfloat16:
            raise InvalidSettingError(
                f"model.dtype is bfloat16, which {hardware.name or 'this GPU'} cannot compute: "
                "training would fall back to another number type or fail half-way.",
                hint="FIM_MODEL_DTYPE=float16, or leave it out to follow the machine.",
            )
        return DtypeChoice(requested, "asked for by model.dtype")
    if hardware.accelerator == "cuda":
        if hardware.has_bfloat16:
            return DtypeChoice("bfloat16", f"{hardware.name} computes bfloat16")
        return DtypeChoice("float16", f"{hardware.name} has no bfloat16")
    if hardware.has_bfloat16:
        return DtypeChoice("bfloat16", "the CPU multiplies bfloat16 in hardware")
    return DtypeChoice("float32", "the CPU has no bfloat16 instructions")


def torch_dtype(name: str) -> torch.dtype:
    """Return torch's number type of a name in ``DTYPES``."""
    import torch

    return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]


def require_packages(*names: str, extra: str = "train") -> None:
    """Make sure that packages are installed, without importing them.

    Raises:
        MissingExtraError: At least one is missing; the hint is the pip line.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"Not installed: {', '.join(missing)}. Loading a model needs "
            f"{'it' if len(missing) == 1 else 'them'}.",
            hint=f'pip install "fim[{extra}]"',
            context={"missing": missing, "extra": extra},
        )


def _cpu_has_bfloat16() -> bool:
    """Tell whether the CPU has AVX512-BF16 or AMX."""
    import torch

    capabilities = torch.cpu.get_capabilities()
    return any(bool(capabilities.get(name)) for name in _CPU_BFLOAT16_CAPABILITIES)


def _num_cores() -> int:
    """Return the number of cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
