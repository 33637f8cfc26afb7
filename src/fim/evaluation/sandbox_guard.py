"""The program inside the sandbox: a guard, a candidate that runs the answer, a checker.

Started as a file with ``python -I -S``; it needs the standard library alone. The guard makes the
walls, forks the candidate before it knows test or nonce, then forks the checker, and kills both.
The candidate never sees test, nonce or verdict: it is asked for values through a pipe, and only
plain data cross it, so neither an always-equal object nor a forged line can pass.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
import time
from typing import Any, NoReturn

MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
PR_SET_DUMPABLE, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 4, 24, 38, 36
MAX_MESSAGE_BYTES = 16 * 2**20
LAST_CAPABILITY = 63
NO_USER = 65534
MAX_DEPTH = 200
Job = dict[str, Any]
WORK = "/box"
SIMPLE: tuple[tuple[type, str, Any], ...] = (
    (int, "i", lambda value: str(int.__index__(value))),
    (float, "f", lambda value: float.hex(float.__add__(value, 0.0))),
    (complex, "c", lambda value: [float.hex(part) for part in (value.real, value.imag)]),
    (str, "s", str.__str__),
    (bytes, "b", bytes.hex),
)
HOLDERS: tuple[tuple[type, str, Any], ...] = (
    (list, "l", list.__iter__),
    (tuple, "t", tuple.__iter__),
    (set, "e", set.__iter__),
    (frozenset, "z", frozenset.__iter__),
)


class Opaque:
    """Something that is not plain data: equal to nothing else, and without a truth value."""

    def __bool__(self) -> bool:
        """Refuse to be true or false.

        Raises:
            TypeError: Always.
        """
        raise TypeError("the answer returned something that is not plain data")


def encode(value: object, depth: int = 0) -> list[Any]:
    """Return JSON-ready data for plain values; anything else becomes opaque."""
    if depth > MAX_DEPTH:
        return ["o"]
    if value is None or value is True or value is False:
        return ["v", value]
    for kind, mark, simple in SIMPLE:
        if isinstance(value, kind):
            return [mark, simple(value)]
    for kind, mark, parts in HOLDERS:
        if isinstance(value, kind):
            return [mark, [encode(item, depth + 1) for item in parts(value)]]
    if isinstance(value, dict):
        pairs = dict.items(value)
        return ["d", [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in pairs]]
    return ["o"]


def decode(data: list[Any]) -> object:
    """Return the plain value of encoded data."""
    mark, *rest = data
    if mark == "o":
        return Opaque()
    if mark == "d":
        return {decode(key): decode(value) for key, value in rest[0]}
    simple = {
        "v": lambda: rest[0],
        "i": lambda: int(rest[0]),
        "f": lambda: float.fromhex(rest[0]),
        "c": lambda: complex(*map(float.fromhex, rest[0])),
        "s": lambda: str(rest[0]),
        "b": lambda: bytes.fromhex(rest[0]),
        "l": lambda: [decode(item) for item in rest[0]],
        "t": lambda: tuple(decode(item) for item in rest[0]),
        "e": lambda: {decode(item) for item in rest[0]},
        "z": lambda: frozenset(decode(item) for item in rest[0]),
    }
    made: object = simple[mark]()  # type: ignore[no-untyped-call]
    return made


def send(handle: int, message: object) -> None:
    """Write one message: its length in eight bytes, then JSON."""
    body = json.dumps(message).encode("ascii")
    data = len(body).to_bytes(8, "big") + body
    while data:
        data = data[os.write(handle, data) :]


def receive(handle: int) -> Any:
    """Read one message.

    Raises:
        EOFError: The other side is gone or says too much.
    """
    size = int.from_bytes(_read(handle, 8), "big")
    if size > MAX_MESSAGE_BYTES:
        raise EOFError("message too large")
    return json.loads(_read(handle, size))


def _read(handle: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(handle, min(size, 1 << 20))
        if not part:
            raise EOFError("pipe closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def prctl(option: int, value: int) -> None:  # pragma: no cover
    """Call ``prctl``, where there is one."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def mount(what: str, to: str, kind: str, flags: int, data: str = "") -> None:  # pragma: no cover
    """Call ``mount``.

    Raises:
        OSError: The kernel refused.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    texts = [text.encode() if text else None for text in (what, to, kind)]
    if libc.mount(*texts, flags, data.encode() if data else None):
        raise OSError(ctypes.get_errno(), f"mount {to}")


def build_root(root: str, readable: list[str], temp_bytes: int) -> None:  # pragma: no cover
    """Make a new root that holds read-only libraries and an empty work folder, and enter it.

    Raises:
        OSError: The kernel refused.
    """
    mount("", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, f"size={temp_bytes},mode=755,nr_inodes=20k")
    for path in readable:
        target = root + path
        if os.path.islink(path):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.readlink(path), target)
        elif os.path.isdir(path):
            os.makedirs(target, exist_ok=True)
            mount(path, target, "", MS_BIND)
            kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | 8 | 1024 | 2048 | 4096)
            flags = MS_BIND | MS_REMOUNT | MS_RDONLY | (kept & ~4096)
            mount("", target, "", flags)
    os.makedirs(root + WORK)
    os.chmod(root + WORK, 0o777)
    os.chroot(root)
    os.chdir(WORK)


def limit(job: Job, *, is_candidate: bool) -> None:  # pragma: no cover
    """Set the limits of this process and its children."""
    cpu = job["cpu_seconds"]
    bounds = {
        resource.RLIMIT_CPU: cpu,
        resource.RLIMIT_AS: job["memory_bytes"],
        resource.RLIMIT_FSIZE: job["file_bytes"] if is_candidate else 0,
        resource.RLIMIT_NOFILE: job["open_files"],
        resource.RLIMIT_CORE: 0,
    }
    if hasattr(resource, "RLIMIT_NPROC"):
        bounds[resource.RLIMIT_NPROC] = job["processes"] if is_candidate else 1
    for name, value in bounds.items():
        with contextlib.suppress(ValueError, OSError):
            hard = resource.getrlimit(name)[1]
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(name, (bound, bound))


def drop_privileges(user: int | None) -> None:  # pragma: no cover
    """Become another user where allowed, and give up every capability for good."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    for capability in range(LAST_CAPABILITY + 1):
        prctl(PR_CAPBSET_DROP, capability)
    if user is not None:
        with contextlib.suppress(OSError):
            os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    _clear_capabilities()
    prctl(PR_SET_DUMPABLE, 0)


def _clear_capabilities() -> None:  # pragma: no cover
    if not sys.platform.startswith("linux"):
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    nothing = (ctypes.c_uint32 * 6)()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).capset(header, nothing)


def keep_only(*handles: int) -> None:  # pragma: no cover
    """Close every file but some."""
    low = 0
    for handle in sorted(handles):
        if low < handle:
            os.closerange(low, handle)
        low = handle + 1
    os.closerange(low, 65536)


def to_nowhere(null: int) -> None:  # pragma: no cover
    """Send the standard streams nowhere."""
    for handle in range(3):
        os.dup2(null, handle)


def candidate(job: Job, ask: int, answer: int, null: int) -> NoReturn:  # pragma: no cover
    """Run the answer's program, then answer calls of its entry point for ever."""
    os.setsid()
    to_nowhere(null)
    keep_only(0, 1, 2, ask, answer)
    os.environ.clear()
    limit(job, is_candidate=True)
    drop_privileges(job["user"])
    scope: dict[str, Any] = {"__name__": "candidate"}
    try:
        exec(compile(job["program"], "candidate.py", "exec"), scope)  # noqa: S102
        function: Any = scope[job["entry_point"]]
    except BaseException as error:  # noqa: BLE001
        send(answer, {"error": type(error).__name__, "text": str(error)[:300]})
        os._exit(0)
    send(answer, {"ready": True})
    while True:
        given = receive(ask)
        arguments: Any = decode(given["args"])
        names: Any = decode(given["kwargs"])
        reply: dict[str, Any]
        try:
            value = function(*arguments, **names)
            reply = {"value": encode(value), "args": encode(arguments)}
        except BaseException as error:  # noqa: BLE001
            reply = {"error": type(error).__name__, "text": str(error)[:300]}
        send(answer, reply)


class Proxy:
    """Stands for the entry point in the checker: asks the candidate and gets plain data."""

    def __init__(self, ask: int, answer: int) -> None:
        self.ask, self.answer = ask, answer

    def __call__(self, *args: object, **kwargs: object) -> object:
        """Return what the candidate returns; what it did to lists it was given is done here too."""
        send(self.ask, {"args": encode(args), "kwargs": encode(kwargs)})
        reply = receive(self.answer)
        if "error" in reply:
            known = getattr(__import__("builtins"), str(reply["error"]), None)
            if isinstance(known, type) and issubclass(known, Exception):
                raise known(reply.get("text", ""))
            raise RuntimeError(reply.get("text", ""))
        after = decode(reply["args"])
        if isinstance(after, tuple) and len(after) == len(args):
            for mine, theirs in zip(args, after, strict=True):
                if isinstance(mine, list) and isinstance(theirs, list):
                    mine[:] = theirs
                elif isinstance(mine, dict | set) and type(mine) is type(theirs):
                    mine.clear()
                    mine.update(theirs)
        return decode(reply["value"])


def checker(job: Job, ask: int, answer: int, out: int, null: int) -> NoReturn:  # pragma: no cover
    """Run the test against the candidate and write the nonce when it holds."""
    to_nowhere(null)
    keep_only(0, 1, 2, ask, answer, out)
    limit(job, is_candidate=False)
    drop_privileges(None if job["user"] is None else job["user"] + 1)
    outcome: dict[str, Any] = {"passed": False, "reason": ""}
    try:
        hello = receive(answer)
        if "error" in hello:
            outcome["reason"] = str(hello["error"])
        else:
            scope: dict[str, Any] = {"__name__": "checker"}
            with contextlib.suppress(Exception):
                exec(compile(job["prompt"], "prompt.py", "exec"), scope)  # noqa: S102
            proxy = Proxy(ask, answer)
            scope[job["entry_point"]] = proxy
            exec(compile(job["test"], "test.py", "exec"), scope)  # noqa: S102
            scope["check"](proxy)
            outcome = {"passed": True, "reason": "", "nonce": job["nonce"]}
    except EOFError:
        outcome["reason"] = "ended early"
    except BaseException as error:  # noqa: BLE001
        outcome["reason"] = type(error).__name__
    send(out, outcome)
    os._exit(0)


def walls(job: Job) -> list[str]:  # pragma: no cover
    """Make the walls that the guard itself makes; return the names of those that stand."""
    made = []
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    if job["has_mounts"]:
        with contextlib.suppress(OSError):
            build_root(job["root"], job["readable"], job["temp_bytes"])
            made.append("files")
    if "files" not in made:
        with contextlib.suppress(OSError):
            os.chdir(job["root"])
        if job["user"] is not None:
            os.chown(job["root"], job["user"], job["user"])
    return made


def kill_all(children: list[int]) -> None:  # pragma: no cover
    """Kill the children with their process groups, and whatever they left behind."""
    deadline = time.monotonic() + 2.0
    while children and time.monotonic() < deadline:
        for child in children:
            for kill in (os.killpg, os.kill):
                with contextlib.suppress(OSError):
                    kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        children = descendants()
        if children:
            time.sleep(0.002)


def descendants() -> list[int]:  # pragma: no cover
    """Return the processes below this one; orphans belong to it as well."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as stream:
            return [int(text) for text in stream.read().split()]
    except OSError:
        return []


def guard() -> None:  # pragma: no cover
    """Read the job, run it, tell the verdict on stdout."""
    verdict_out = os.dup(1)
    prctl(PR_SET_DUMPABLE, 0)
    null = os.open(os.devnull, os.O_RDWR)
    first = receive(0)
    made = walls(first)
    (ask_read, ask_write), (answer_read, answer_write) = os.pipe(), os.pipe()
    running = os.fork()
    if not running:
        candidate(first, ask_read, answer_write, null)
    for handle in (ask_read, answer_write):
        os.close(handle)
    second = receive(0)
    verdict_read, verdict_write = os.pipe()
    checking = os.fork()
    if not checking:
        checker({**first, **second}, ask_write, answer_read, verdict_write, null)
    for handle in (ask_write, answer_read, verdict_write):
        os.close(handle)
    reasons = ["killed"]

    def end(*_: object) -> None:
        reasons[0] = "timeout"
        kill_all([running, checking])

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, first["wall_seconds"])
    try:
        outcome = receive(verdict_read)
    except (EOFError, ValueError):
        outcome = {"passed": False, "reason": reasons[0]}
    signal.setitimer(signal.ITIMER_REAL, 0)
    kill_all([running, checking])
    send(verdict_out, {**outcome, "walls": made})


if __name__ == "__main__":  # pragma: no cover
    with contextlib.suppress(AttributeError):
        sys.set_int_max_str_digits(0)
    guard()
