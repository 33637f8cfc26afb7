"""The compiled library: built once for this processor, and kept in the cache folder."""

from __future__ import annotations

import ctypes
import hashlib
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

from fim.config.switches import c_compiler, cache_folder
from fim.logger import get_logger

SOURCES = ("forward.c", "workers.h", "matrices.h")
FLAGS = ("-O3", "-ffp-contract=fast", "-fno-strict-aliasing", "-shared", "-fPIC", "-pthread")
PROCESSOR_FLAGS = (("-march=native",), ("-mcpu=native",), ())
"""What tells a compiler to use all that this processor can; the first that it takes."""

TIMEOUT_SECONDS = 120.0
_PROCESSOR_FILE = Path("/proc/cpuinfo")


@lru_cache(maxsize=1)
def native_library() -> ctypes.CDLL:
    """Return the library, compiled now where this has not been done on this processor.

    Raises:
        RuntimeError: There is no C compiler, it refuses the source, or the result is not loaded.
    """
    try:
        return build_library(cache_folder() / "native")
    except OSError as error:
        _warn(cache_folder(), error.strerror or str(error))
        raise RuntimeError(f"the library is not to be had: {error}") from error


@lru_cache(maxsize=1)
def _warn(cache: Path, reason: str) -> None:
    """Say once that a cache is of no use, and how to name another."""
    get_logger(__name__).warning(
        "the cache %s cannot be used (%s), so completions go a slower way; "
        "FIM_CACHE_DIR names another folder",
        cache,
        reason,
    )


def build_library(folder: Path, flags: Sequence[str] = ()) -> ctypes.CDLL:
    """Return the library of a folder, compiled now where it is not there.

    Args:
        folder: Where libraries are kept.
        flags: More arguments of the compiler.

    Raises:
        RuntimeError: There is no C compiler, or it refuses the source.
        OSError: A file cannot be written or loaded, or the compiler cannot be started.
    """
    program = c_compiler()
    if program is None:
        raise RuntimeError("there is no C compiler")
    source = files(__package__)
    texts = {name: source.joinpath(name).read_text(encoding="utf-8") for name in SOURCES}
    marks = [program, _processor(), *FLAGS, *flags, *texts.values()]
    name = hashlib.sha256("\0".join(marks).encode()).hexdigest()[:20]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"forward-{name}.so"
    if not file.exists():
        get_logger(__name__).info("compiling completions for this processor by %s, once", program)
        with tempfile.TemporaryDirectory(dir=folder) as build:
            for each, text in texts.items():
                Path(build, each).write_text(text, encoding="utf-8")
            compiled = _compile(program, Path(build), flags)
            ctypes.CDLL(str(compiled))
            compiled.replace(file)
    return _declared(ctypes.CDLL(str(file)))


def _compile(program: str, folder: Path, flags: Sequence[str]) -> Path:
    """Compile the sources of a folder, for this very processor where the compiler knows how.

    Raises:
        RuntimeError: The compiler refuses them or takes too long.
        OSError: The compiler cannot be started.
    """
    result = folder / "forward.so"
    complaints: list[str] = []
    for processor in PROCESSOR_FLAGS:
        arguments = [*FLAGS, *processor, *flags, "-o", result.name, SOURCES[0], "-lm"]
        try:
            done = subprocess.run(  # noqa: S603
                [program, *arguments],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"{program} takes longer than {TIMEOUT_SECONDS:g} s") from error
        if done.returncode == 0 and result.exists():
            return result
        complaints.append(next(iter(done.stderr.splitlines()), f"status {done.returncode}"))
    raise RuntimeError(f"{program} refuses the source: {complaints[-1]}")


def _processor() -> str:
    """Return what tells processors apart that need another library."""
    facts = [platform.machine(), platform.processor()]
    if _PROCESSOR_FILE.is_file():
        lines = _PROCESSOR_FILE.read_text(encoding="utf-8", errors="replace").splitlines()
        wanted = ("flags", "Features", "model name")
        facts += sorted({line for line in lines if line.startswith(wanted)})
    return "\n".join(facts)


def _declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """Say what the functions take and return."""
    pointer, whole = ctypes.c_void_p, ctypes.c_int32
    library.fim_panel.restype = whole
    library.fim_encode.restype = ctypes.c_size_t
    library.fim_encode.argtypes = [pointer, whole, whole, whole, ctypes.c_float, pointer]
    library.fim_room.restype = ctypes.c_size_t
    library.fim_room.argtypes = [pointer, pointer, whole, whole]
    library.fim_read.restype = None
    library.fim_read.argtypes = [
        *(pointer, pointer, pointer, whole, pointer, pointer),
        *(whole, pointer, pointer, whole),
    ]
    return library
