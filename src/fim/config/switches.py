"""Variables that are not settings: how this process behaves, not what it computes."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from platformdirs import user_cache_path

from fim.config.files import folded_variables, read_env_file, unquoted

SWITCH_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "FIM_CACHE_DIR": "Folder of what is made or fetched once; none takes the user's cache.",
        "FIM_DEBUG": "1 shows the traceback of an error.",
        "FIM_NO_PROGRESS": "1 shows no progress.",
    }
)
_OFF_WORDS = frozenset({"", "0", "false", "no", "off"})
C_COMPILERS = ("cc", "gcc", "clang")
_HUB_TOKEN_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")


@dataclass(frozen=True, slots=True)
class Switches:
    """How this process behaves."""

    debug: bool
    no_progress: bool
    cache_dir: Path


def read_switches(env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Switches:
    """Read the switches from the environment, then ``.env``; an unreadable ``.env`` counts as none.

    Args:
        env: Variables in place of the process environment.
        cwd: Folder of ``.env`` in place of the working directory.
    """
    actual = os.environ if env is None else env
    variables, _ = read_env_file(cwd or Path.cwd(), actual)
    merged = {**folded_variables(variables)[0], **folded_variables(actual)[0]}
    folder = unquoted(merged.get("FIM_CACHE_DIR", "")).strip()
    return Switches(
        debug=_is_on(merged.get("FIM_DEBUG", "")),
        no_progress=_is_on(merged.get("FIM_NO_PROGRESS", "")),
        cache_dir=Path(folder).expanduser() if folder else user_cache_path("fim"),
    )


def cache_folder(env: Mapping[str, str] | None = None, cwd: Path | None = None) -> Path:
    """Return the folder of what is made or fetched once: ``FIM_CACHE_DIR`` or the user's cache."""
    return read_switches(env, cwd).cache_dir


def c_compiler(env: Mapping[str, str] | None = None) -> str | None:
    """Return the path of a C compiler, ``CC`` or the first usual one, or None without one.

    Args:
        env: Variables in place of the process environment.
    """
    actual = os.environ if env is None else env
    names = [actual.get("CC", "").strip(), *C_COMPILERS]
    found = (shutil.which(name, path=actual.get("PATH")) for name in names if name)
    return next((path for path in found if path), None)


def hub_token_place(env: Mapping[str, str] | None = None) -> str | None:
    """Return where the hub library will find a token, or None when there is none.

    Args:
        env: Variables in place of the process environment.
    """
    actual = os.environ if env is None else env
    for name in _HUB_TOKEN_VARIABLES:
        if actual.get(name, "").strip():
            return name
    cache_home = Path(actual.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    home = Path(actual.get("HF_HOME") or cache_home / "huggingface").expanduser()
    file = Path(actual.get("HF_TOKEN_PATH") or home / "token").expanduser()
    return str(file) if file.is_file() else None


def _is_on(text: str) -> bool:
    return text.strip().lower() not in _OFF_WORDS
