"""Programs with answers in them, run within walls and limits, many at a time."""

from __future__ import annotations

import os
import secrets
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fim.evaluation.sandbox.server import SandboxServer
from fim.evaluation.sandbox.walls import Walls, find_walls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fim.evaluation.suites.base import Check
    from fim.types import Progress

GRACE_SECONDS = 5.0
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use.

    Args:
        wall_seconds: Time on the clock, checks included.
        script_seconds: The same for a script with all of its inputs.
        cpu_seconds: Processor time of each process.
        memory_bytes: Address space of each process.
        processes: Processes and threads of the candidate.
        file_bytes: Largest file it may write.
        temp_bytes: All files together, where the folder is a wall of its own.
        open_files: Open files.
    """

    wall_seconds: float = 3.0
    script_seconds: float = 10.0
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
class Sandbox:
    """Runs programs within walls and limits.

    Args:
        limits: What a program may use.
        walls: What is put around it; found out when not given.
    """

    limits: Limits = field(default_factory=Limits)
    walls: Walls = field(default_factory=find_walls)

    def run(self, program: Program) -> Outcome:
        """Run one program and its check.

        Raises:
            EvaluationError: The sandbox does not start.
        """
        return self.run_many([program], workers=1)[0]

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

        Raises:
            EvaluationError: The sandbox does not start.
        """
        workers = max(1, min(workers or usable_processors(), len(programs)))
        desks = [_Desk(self, slot) for slot in range(workers)]
        lock = threading.Lock()

        def run(program: Program) -> Outcome:
            with lock:
                desk = desks.pop()
            try:
                return desk.run(program)
            finally:
                with lock:
                    desks.append(desk)

        outcomes: dict[int, Outcome] = {}
        try:
            with ThreadPoolExecutor(workers) as pool:
                running = {pool.submit(run, each): number for number, each in enumerate(programs)}
                for done in as_completed(running):
                    outcomes[running[done]] = done.result()
                    if progress:
                        progress.advance(len(outcomes))
        finally:
            for desk in desks:
                desk.close()
        return [outcomes[number] for number in range(len(programs))]


class _Desk:
    """One program at a time: a server, started when needed and again when it ended.

    Args:
        sandbox: Limits and walls.
        slot: Number that no other desk has; it gives the user.
    """

    def __init__(self, sandbox: Sandbox, slot: int) -> None:
        self._sandbox = sandbox
        self._slot = slot
        self._server: SandboxServer | None = None

    def run(self, program: Program) -> Outcome:
        if self._server is None or not self._server.is_alive:
            self.close()
            walls = self._sandbox.walls
            self._server = SandboxServer(walls.prefix, walls.setup)
        nonce = secrets.token_hex(16)
        limits = self._sandbox.limits
        seconds = limits.script_seconds if program.check.cases else limits.wall_seconds
        answer = self._server.ask(
            [self._job(program, seconds), _secret_part(program, nonce)],
            seconds=seconds + GRACE_SECONDS,
        )
        has_passed = answer.get("passed") is True and answer.get("nonce") == nonce
        reason = str(answer.get("reason") or "killed")
        return Outcome(has_passed, "" if has_passed else reason)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def _job(self, program: Program, seconds: float) -> dict[str, object]:
        limits, user = self._sandbox.limits, self._sandbox.walls.user
        job: dict[str, object] = {
            "program": program.source,
            "entry_point": program.check.entry_point,
            "wall_seconds": seconds,
            "cpu_seconds": max(limits.cpu_seconds, round(seconds)),
            "memory_bytes": limits.memory_bytes,
            "processes": limits.processes,
            "file_bytes": limits.file_bytes,
            "temp_bytes": limits.temp_bytes,
            "open_files": limits.open_files,
            "user": None if user is None else user + 2 * self._slot,
        }
        if program.check.cases:
            job["inputs"] = [_lines(given) for given, _ in program.check.cases]
            job["program"] = _lines(program.source)
        return job


def usable_processors() -> int:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def describe_outcomes(outcomes: Iterable[Outcome]) -> dict[str, int]:
    """Count outcomes by reason; ``passed`` is one."""
    counts: dict[str, int] = {}
    for outcome in outcomes:
        reason = "passed" if outcome.has_passed else outcome.reason or "failed"
        counts[reason] = counts.get(reason, 0) + 1
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _secret_part(program: Program, nonce: str) -> dict[str, object]:
    check = program.check
    if check.cases:
        return {"outputs": [list(map(_lines, wanted)) for _, wanted in check.cases], "nonce": nonce}
    return {"prompt": check.prompt, "test": check.test, "nonce": nonce}


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n")
