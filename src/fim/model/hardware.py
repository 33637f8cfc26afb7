"""What the machine can do, and which number type follows from it."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from fim.errors import InvalidSettingError, MissingExtraError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16")
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
    """

    accelerator: Literal["cuda", "cpu"]
    name: str = ""
    num_accelerators: int = 0
    memory_mib: int = 0
    has_bfloat16: bool = False
    num_cores: int = 1

    def as_json(self) -> dict[str, object]:
        """Return the facts as JSON-ready data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class DtypeChoice:
    """A number type and the reason it was chosen."""

    name: str
    reason: str


def detect_hardware() -> Hardware:
    """Look at the machine through torch.

    Raises:
        MissingExtraError: torch is not installed.
    """
    require_packages("torch")
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
    return Hardware(accelerator="cpu", has_bfloat16=_cpu_has_bfloat16(), num_cores=_num_cores())


def choose_dtype(requested: str | None, hardware: Hardware) -> DtypeChoice:
    """Choose the number type of the model's weights and computation.

    Args:
        requested: One of ``DTYPES``, or None to follow the hardware.
        hardware: The machine.

    Raises:
        InvalidSettingError: The requested name is not a number type of models.
    """
    if requested is not None:
        if requested not in DTYPES:
            raise InvalidSettingError(
                f"model.dtype is {requested!r}, which is no number type that models use.",
                hint=f"FIM_MODEL_DTYPE={'|'.join(DTYPES)}, or leave it out to follow the machine.",
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
