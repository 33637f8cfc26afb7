"""What this machine allows to put around a program."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fim.errors import EvaluationError
from fim.evaluation.sandbox.server import SandboxServer

FIRST_USER = 61_000
PROBE_SECONDS = 10.0
_NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child")
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class Walls:
    """What this machine allows to put around a program.

    ``prefix`` is the command that makes the namespaces; empty where there are none.
    """

    prefix: tuple[str, ...] = ()
    user: int | None = None
    missing: tuple[str, ...] = ()

    @property
    def has_namespaces(self) -> bool:
        """Whether network, processes and files are of the program's own."""
        return bool(self.prefix)

    def describe(self) -> dict[str, object]:
        """Return what holds and what is missing, for reports."""
        own = "own namespace, none reachable" if self.has_namespaces else "NOT cut off"
        return {
            "network": own,
            "files": "read-only libraries and an empty folder"
            if self.has_namespaces
            else "NOT cut off: the whole disk can be read",
            "processes": "own namespace, all killed at the end"
            if self.has_namespaces
            else "process group and orphans killed",
            "user": "unprivileged" if self.user is not None else "the caller's, no capabilities",
            "environment": "empty",
            "limits": "CPU, memory, processes, file size, open files, wall time",
            "verdict": "checked by a second process; only plain data cross",
            "missing": list(self.missing),
        }

    def setup(self, root: str) -> dict[str, object]:
        """Return what a server is told first.

        Args:
            root: Empty folder that becomes the programs' root, or holds their work folder.
        """
        return {
            "has_mounts": self.has_namespaces,
            "root": root,
            "readable": list(readable_paths()),
        }


@cache
def find_walls() -> Walls:
    """Find out what this machine allows by making the walls; asked once."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    user = FIRST_USER if is_root else None
    unshare = shutil.which("unshare")
    if unshare is not None:
        more = () if is_root else ("--user", "--map-root-user")
        walls = Walls((unshare, *more, *_NAMESPACES), user)
        if _stand(walls, (unshare, *_NAMESPACES)):
            return walls
    return Walls((), user, ("network", "files", "processes"))


def _stand(walls: Walls, inner: tuple[str, ...]) -> bool:
    """Tell whether namespaces can be made, again within them, and a root be built there."""
    probe = [*walls.prefix, *inner, "true"]
    try:
        found = subprocess.run(  # noqa: S603
            probe, capture_output=True, check=False, timeout=PROBE_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    if found.returncode:
        return False
    try:
        with SandboxServer(walls.prefix, walls.setup) as server:
            return "files" in server.walls
    except EvaluationError:
        return False


@cache
def readable_paths() -> tuple[str, ...]:
    """Return the folders that a program can read: system libraries and the standard library."""
    standard = str(Path(os.__file__).resolve().parent)
    shown = tuple(path for path in _LIBRARIES if Path(path).exists())
    is_shown = any(standard.startswith(f"{path}/") for path in shown)
    return shown if is_shown else (*shown, standard)
