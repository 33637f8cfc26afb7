"""Running answers apart from this process: walls, limits, verdicts, many at a time."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fim.evaluation.suites.base import Check
    from fim.types import Progress

GUARD = Path(__file__).with_name("sandbox_guard.py")
GRACE_SECONDS = 5.0
MAX_VERDICT_BYTES = 65_536
FIRST_USER = 61_000
_MIB = 2**20
_NAMESPACES = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child")
_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    Args:
        wall_seconds: Time on the clock, checks included.
        cpu_seconds: Processor time of each process.
        memory_bytes: Address space of each process.
        processes: Processes and threads of the candidate.
        file_bytes: Largest file it may write.
        temp_bytes: All files together, where the folder is a wall of its own.
        open_files: Open files.
    """

    wall_seconds: float = 3.0
    cpu_seconds: int = 4
    memory_bytes: int = 1024 * _MIB
    processes: int = 8
    file_bytes: int = 8 * _MIB
    temp_bytes: int = 32 * _MIB
    open_files: int = 64


@dataclass(frozen=True, slots=True)
class Program:
    """A program with an answer in it, and how it is checked."""

    source: str
    check: Check


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a program passed; ``reason`` names the error, ``timeout`` or ``killed`` if not."""

    has_passed: bool
    reason: str = ""


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


@cache
def find_walls() -> Walls:
    """Find out what this machine allows; asked once."""
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    user = FIRST_USER if is_root else None
    unshare = shutil.which("unshare")
    if unshare is not None:
        more = () if is_root else ("--user", "--map-root-user")
        prefix = (unshare, *more, *_NAMESPACES)
        probe = subprocess.run([*prefix, "true"], capture_output=True, check=False)  # noqa: S603
        if probe.returncode == 0:
            return Walls(prefix, user)
    return Walls((), user, ("network", "files", "processes"))


@dataclass(frozen=True, slots=True)
class Sandbox:
    """Runs programs within walls and limits.

    Args:
        limits: What a program may use.
        walls: What is put around it; found out when not given.
    """

    limits: Limits = field(default_factory=Limits)
    walls: Walls = field(default_factory=find_walls)

    def run(self, program: Program, *, slot: int = 0) -> Outcome:
        """Run one program and its check.

        Args:
            program: What to run.
            slot: Number that no other program running now has; it gives the user.
        """
        root = tempfile.mkdtemp(prefix="fim-run-")
        try:
            return self._run(program, root, slot)
        finally:
            shutil.rmtree(root, ignore_errors=True)

    def run_many(
        self,
        programs: Sequence[Program],
        *,
        workers: int | None = None,
        progress: Progress | None = None,
    ) -> list[Outcome]:
        """Run programs side by side and return their outcomes in order.

        Args:
            programs: What to run.
            workers: Programs at a time; the number of processors by default.
            progress: Is advanced by the programs done; opened and closed by the caller.
        """
        workers = workers or usable_processors()
        slots = list(range(workers))
        lock = threading.Lock()

        def run(program: Program) -> Outcome:
            with lock:
                slot = slots.pop()
            try:
                return self.run(program, slot=slot)
            finally:
                with lock:
                    slots.append(slot)

        with ThreadPoolExecutor(workers) as pool:
            running = {pool.submit(run, program): number for number, program in enumerate(programs)}
            outcomes: dict[int, Outcome] = {}
            for done in as_completed(running):
                outcomes[running[done]] = done.result()
                if progress:
                    progress.advance(len(outcomes))
        return [outcomes[number] for number in range(len(programs))]

    def _run(self, program: Program, root: str, slot: int) -> Outcome:
        nonce = secrets.token_hex(16)
        process = subprocess.Popen(  # noqa: S603
            [*self.walls.prefix, sys.executable, "-I", "-S", str(GUARD)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=root,
            env={},
            start_new_session=True,
        )
        job = _framed(self._job(program, root, slot)) + _framed(_secret_part(program, nonce))
        try:
            answer, _ = process.communicate(job, timeout=self.limits.wall_seconds + GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            answer = b""
        finally:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.kill()
            process.communicate()
        return _outcome(answer, nonce)

    def _job(self, program: Program, root: str, slot: int) -> dict[str, object]:
        limits, user = self.limits, self.walls.user
        return {
            "program": program.source,
            "entry_point": program.check.entry_point,
            "wall_seconds": limits.wall_seconds,
            "cpu_seconds": limits.cpu_seconds,
            "memory_bytes": limits.memory_bytes,
            "processes": limits.processes,
            "file_bytes": limits.file_bytes,
            "temp_bytes": limits.temp_bytes,
            "open_files": limits.open_files,
            "user": None if user is None else user + 2 * slot,
            "has_mounts": self.walls.has_namespaces,
            "root": root,
            "readable": list(readable_paths()),
        }


def usable_processors() -> int:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@cache
def readable_paths() -> tuple[str, ...]:
    """Return the folders that a program can read: system libraries and the standard library."""
    standard = str(Path(os.__file__).resolve().parent)
    shown = tuple(path for path in _LIBRARIES if Path(path).exists())
    is_shown = any(standard.startswith(f"{path}/") for path in shown)
    return shown if is_shown else (*shown, standard)


def describe_outcomes(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count outcomes by reason; ``passed`` is one."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        reason = "passed" if outcome.has_passed else outcome.reason or "failed"
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _secret_part(program: Program, nonce: str) -> dict[str, str]:
    return {"prompt": program.check.prompt, "test": program.check.test, "nonce": nonce}


def _framed(message: object) -> bytes:
    body = json.dumps(message).encode("ascii")
    return len(body).to_bytes(8, "big") + body


def _outcome(answer: bytes, nonce: str) -> Outcome:
    try:
        verdict = json.loads(answer[8:MAX_VERDICT_BYTES])
    except ValueError:
        return Outcome(has_passed=False, reason="killed")
    has_passed = verdict.get("passed") is True and verdict.get("nonce") == nonce
    return Outcome(has_passed=has_passed, reason="" if has_passed else str(verdict["reason"]))
