"""The warm server inside the sandbox: one fork for every program, walls and limits in the child.

Started by ``python -I -S``, with the standard library alone. For each program it forks a process
that enters namespaces of its own, whose first child, the guard, makes the walls, forks the
candidate before it knows test or nonce, then forks the checker, and kills both. The candidate never
sees test, nonce or verdict: it is asked for values through a pipe, and only plain data cross it, so
neither an always-equal object nor a forged line can pass. A script is judged by what it writes.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import shutil
import signal
import sys
import time
from typing import Any, NoReturn

from .comparison import outputs_match
from .confine import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_PDEATHSIG,
    Job,
    build_root,
    enter_root,
    kill_all,
    leave_namespaces,
    prctl,
)
from .plain import receive, send
from .programs import candidate, checker, script

GRACE_SECONDS = 3.0
KILL_AGAIN_SECONDS = 0.2
MAX_OUTPUT_BYTES = 8 * 2**20
MAX_VERDICT_BYTES = 65_536
USUAL_MODULES = (
    "bisect collections copy datetime decimal fractions functools hashlib heapq itertools json "
    "math operator random re statistics string threading typing"
)


def serve() -> None:  # pragma: no cover
    """Make the walls that all programs share, then run programs until the input ends."""
    prctl(PR_SET_DUMPABLE, 0)
    sys.argv[:] = ["candidate.py"]
    with contextlib.suppress(AttributeError):
        sys.set_int_max_str_digits(0)
    for name in USUAL_MODULES.split():
        importlib.import_module(name)
    setup = {**receive(0), "null": os.open(os.devnull, os.O_RDWR)}
    has_root = False
    if setup["has_mounts"]:
        with contextlib.suppress(OSError):
            build_root(setup["root"], setup["readable"])
            has_root = True
    send(1, {"ready": True, "walls": ["files"] if has_root else []})
    while True:
        try:
            job = receive(0)
        except EOFError:
            return
        outcome = _run({**setup, **job, "has_root": has_root})
        send(1, outcome or {"passed": False, "reason": "killed", "is_last": True})
        if outcome is None:
            return


def _run(job: Job) -> dict[str, Any] | None:  # pragma: no cover
    """Run one program in a child; None where no verdict came from its guard."""
    read, write = os.pipe()
    place = os.path.join(job["root"], "box") if not job["has_mounts"] else ""
    if place:
        os.mkdir(place)
    child = os.fork()
    if not child:
        os.close(read)
        _walled(job, write, place)
    os.close(write)
    answer = _collected(read, time.monotonic() + job["wall_seconds"] + GRACE_SECONDS)
    os.close(read)
    if answer is None:
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
    _reap(child)
    if place:
        shutil.rmtree(place, ignore_errors=True)
    return answer


def _collected(read: int, deadline: float) -> dict[str, Any] | None:  # pragma: no cover
    """Return the verdict; the pipe ends when all processes that held it are gone."""
    parts: list[bytes] = []
    while select.select([read], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(read, MAX_VERDICT_BYTES)
        if not part:
            break
        parts.append(part)
    else:
        return None
    data = b"".join(parts)
    if len(data) < 8:  # noqa: PLR2004
        return None
    verdict: dict[str, Any] = json.loads(data[8:])
    return verdict


def _reap(child: int) -> None:  # pragma: no cover
    with contextlib.suppress(ChildProcessError):
        os.waitpid(child, 0)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _walled(job: Job, out: int, place: str) -> NoReturn:  # pragma: no cover
    """Enter namespaces and become, or wait for, the guard."""
    try:
        if not job["has_mounts"]:
            prctl(PR_SET_CHILD_SUBREAPER, 1)
            os.chdir(place)
            if job["user"] is not None:
                os.chown(place, job["user"], job["user"])
            _guard(job, out)
        if not job["has_root"]:
            os._exit(1)
        leave_namespaces()
        first = os.fork()
        if not first:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            enter_root(job["root"], job["temp_bytes"])
            _guard(job, out)
        os.waitpid(first, 0)
        os._exit(0)
    finally:
        os._exit(1)


def _guard(job: Job, out: int) -> NoReturn:  # pragma: no cover
    """Run one program and write its verdict."""
    children: list[int] = []
    reasons = ["killed"]

    def end(*_: object) -> None:
        reasons[0] = "timeout"
        kill_all(children)

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, job["wall_seconds"], KILL_AGAIN_SECONDS)
    judge = _judge_script if "inputs" in job else _judge_calls
    outcome = judge(job, job["null"], children)
    signal.setitimer(signal.ITIMER_REAL, 0)
    kill_all(children)
    send(out, outcome or {"passed": False, "reason": reasons[0]})
    os._exit(0)


def _judge_calls(job: Job, null: int, children: list[int]) -> Job | None:  # pragma: no cover
    """Let the checker call the candidate; None where either was killed."""
    (ask_read, ask_write), (answer_read, answer_write) = os.pipe(), os.pipe()
    running = os.fork()
    if not running:
        candidate(job, ask_read, answer_write, null)
    children.append(running)
    for handle in (ask_read, answer_write):
        os.close(handle)
    secret = receive(0)
    verdict_read, verdict_write = os.pipe()
    checking = os.fork()
    if not checking:
        checker({**job, **secret}, ask_write, answer_read, verdict_write, null)
    children.append(checking)
    for handle in (ask_write, answer_read, verdict_write):
        os.close(handle)
    try:
        outcome: Job = receive(verdict_read)
    except (EOFError, ValueError):
        return None
    return outcome


def _judge_script(job: Job, null: int, children: list[int]) -> Job | None:  # pragma: no cover
    """Run the script on every input, and only then learn the wanted outputs."""
    outputs = []
    for given in job["inputs"]:
        found = _output_of(job, given, null, children)
        if found is None:
            break
        outputs.append(found)
    secret = receive(0)
    if len(outputs) < len(job["inputs"]):
        return None
    judged = zip(outputs, secret["outputs"], strict=True)
    for number, ((code, text), wanted) in enumerate(judged):
        if code:
            return {"passed": False, "reason": f"exit code {code} on input {number + 1}"}
        if not any(outputs_match(text, each) for each in wanted):
            return {"passed": False, "reason": f"wrong output on input {number + 1}"}
    return {"passed": True, "reason": "", "nonce": secret["nonce"]}


def _output_of(
    job: Job, given: str, null: int, children: list[int]
) -> tuple[int, str] | None:  # pragma: no cover
    """Return exit code and output of one run; None where it was killed or wrote too much."""
    source = os.memfd_create("input")
    with open(source, "wb", closefd=False) as stream:
        stream.write(given.encode("utf-8", "surrogatepass"))
    os.lseek(source, 0, os.SEEK_SET)
    read, write = os.pipe()
    running = os.fork()
    if not running:
        script(job, source, write, null)
    children.append(running)
    os.close(write)
    os.close(source)
    parts: list[bytes] = []
    size = 0
    while size <= MAX_OUTPUT_BYTES and (part := os.read(read, 1 << 16)):
        parts.append(part)
        size += len(part)
    os.close(read)
    if size > MAX_OUTPUT_BYTES:
        return None
    try:
        status = os.waitpid(running, 0)[1]
    except ChildProcessError:
        return None
    children.remove(running)
    if os.WIFSIGNALED(status):
        return None
    return os.waitstatus_to_exitcode(status), b"".join(parts).decode("utf-8", "replace")
