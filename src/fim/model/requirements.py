"""What a machine must have before a model is loaded, told before anything is downloaded."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

from fim.errors import NoAcceleratorError, UnsupportedVersionError
from fim.model.hardware import Hardware, require_packages
from fim.model.source import kind_of, parameters_of
from fim.model.unsloth_backend import MINIMUM_VERSION

if TYPE_CHECKING:
    from fim.config import ModelSettings

Backend = Literal["unsloth", "transformers"]

LARGEST_ON_CPU_PARAMETERS = 3_000_000_000
_BROKEN_TRL_ON_CPU = "1.15"
_DRIVER_HINT = "update the NVIDIA driver, or install a torch that fits it; `fim doctor` names both"


def choose_backend(settings: ModelSettings, hardware: Hardware, *, is_training: bool) -> Backend:
    """Choose the backend without importing any: Unsloth where CUDA and the package are there.

    Unsloth trains and does nothing else: what it has trained is a plain adapter, and transformers
    answers with it.

    Args:
        settings: May name a backend to train with.
        hardware: The machine.
        is_training: Whether the model is to be trained.
    """
    if not is_training:
        return "transformers"
    if settings.backend != "auto":
        return settings.backend
    has_unsloth = importlib.util.find_spec("unsloth") is not None
    return "unsloth" if hardware.accelerator == "cuda" and has_unsloth else "transformers"


def check_requirements(
    settings: ModelSettings, hardware: Hardware, *, is_training: bool = True
) -> None:
    """Refuse a model that this machine cannot load, before anything is imported or downloaded.

    A model above three billion parameters is refused without an accelerator unless the backend is
    named explicitly.

    Raises:
        MissingExtraError: A package is not installed.
        NoAcceleratorError: The model or the backend needs a GPU and there is none.
        UnsupportedVersionError: A package has a version that is known not to work here.
        ModelNotFoundError: The name claims to be embedded and is not.
    """
    backend = choose_backend(settings, hardware, is_training=is_training)
    _check_accelerator(settings, hardware, backend)
    _check_packages(settings, backend, is_training=is_training)
    _check_versions(hardware, backend, is_training=is_training)


def _check_accelerator(settings: ModelSettings, hardware: Hardware, backend: Backend) -> None:
    """Refuse what needs a GPU on a machine without one."""
    if hardware.accelerator == "cuda":
        return
    if backend == "unsloth":
        raise NoAcceleratorError(
            f"model.backend is unsloth, which needs a CUDA GPU; {_why_none(hardware)}.",
            hint=_hint(
                hardware,
                "FIM_MODEL_BACKEND=transformers, or FIM_PRESET=cpu for the embedded model",
            ),
            context={"model": settings.name, "backend": backend},
        )
    if _is_large(settings):
        parameters = parameters_of(settings.name)
        bits = "in 4 bits " if settings.load_in_4bit else ""
        raise NoAcceleratorError(
            f"The model {settings.name} ({(parameters or 0) / 1e9:.1f} billion parameters) {bits}"
            f"needs a CUDA GPU; {_why_none(hardware)}. Nothing was downloaded.",
            hint=_hint(
                hardware,
                "FIM_PRESET=cpu works here: it takes the embedded SmolLM2-135M. To run this model "
                "on the CPU all the same: FIM_MODEL_BACKEND=transformers",
            ),
            context={"model": settings.name, "parameters": parameters, "preset": "cpu"},
        )


def needs_accelerator(settings: ModelSettings) -> bool:
    """Tell whether training a model is refused on a machine without a GPU."""
    return settings.backend == "unsloth" or _is_large(settings)


def _is_large(settings: ModelSettings) -> bool:
    """Tell whether a model is too large for a CPU, unless its backend names one that runs there."""
    if settings.backend == "transformers" or kind_of(settings.name) == "embedded":
        return False
    return (parameters_of(settings.name) or 0) > LARGEST_ON_CPU_PARAMETERS


def _hint(hardware: Hardware, otherwise: str) -> str:
    """Return what helps a GPU that cannot be used, or another hint where there is none."""
    return _DRIVER_HINT if hardware.obstacle else otherwise


def _why_none(hardware: Hardware) -> str:
    """Tell why there is no GPU to use."""
    return hardware.obstacle or "torch sees none on this machine"


def _check_packages(settings: ModelSettings, backend: Backend, *, is_training: bool) -> None:
    """Refuse to start without the packages that will be imported."""
    needed = ["torch", "transformers", "peft"]
    if is_training:
        needed.append("trl")
    if settings.load_in_4bit:
        needed.append("bitsandbytes")
    if kind_of(settings.name) == "embedded":
        needed.append("gguf")
    require_packages(*needed)
    if backend == "unsloth":
        require_packages("unsloth", extra="gpu")


def _check_versions(hardware: Hardware, backend: Backend, *, is_training: bool) -> None:
    """Refuse versions that are known to fail or to be picked by mistake."""
    trl = _installed("trl")
    if is_training and hardware.accelerator == "cpu" and _starts_with(trl, _BROKEN_TRL_ON_CPU):
        raise UnsupportedVersionError(
            f"trl {trl} is installed; TRL {_BROKEN_TRL_ON_CPU} cannot train without a GPU.",
            hint='pip install "trl>=1.16"',
            context={"package": "trl", "version": trl},
        )
    unsloth = _installed("unsloth")
    if backend == "unsloth" and unsloth is not None and _is_older(unsloth, MINIMUM_VERSION):
        raise UnsupportedVersionError(
            f"unsloth {unsloth} is installed; it was picked by the resolver to suit another "
            f"package and is older than {MINIMUM_VERSION}, the oldest that was tested.",
            hint="pip install -r constraints/gpu.txt",
            context={"package": "unsloth", "version": unsloth, "minimum": MINIMUM_VERSION},
        )


def _installed(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _starts_with(seen: str | None, release: str) -> bool:
    """Tell whether a version belongs to a release line."""
    return seen is not None and (seen == release or seen.startswith(f"{release}."))


def _is_older(seen: str, minimum: str) -> bool:
    """Tell whether a version comes before another."""
    from packaging.version import Version

    return Version(seen) < Version(minimum)
