"""The walls around a program: namespaces, a root of its own, limits, no privileges."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import time
from functools import cache
from typing import Any

MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4
MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_CAPBSET_DROP = 1, 4, 24
PR_SET_CHILD_SUBREAPER, PR_SET_NO_NEW_PRIVS = 36, 38
CLONE_NEWNS, CLONE_NEWIPC, CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
NAMESPACES = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWPID
LAST_CAPABILITY = 63
KEPT_FLAGS = MS_NOSUID | MS_NODEV | 8 | 1024 | 2048
WORK = "/box"
Job = dict[str, Any]


@cache
def libc() -> Any:
    """Return the C library."""
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:  # pragma: no cover
    """Call ``prctl``, where there is one."""
    with contextlib.suppress(OSError, AttributeError):
        libc().prctl(option, value, 0, 0, 0)


def leave_namespaces() -> None:  # pragma: no cover
    """Enter new mount, message and process namespaces; the next child is process 1.

    The network is already the server's own, without any interface that is up.

    Raises:
        OSError: The kernel refused.
    """
    if libc().unshare(NAMESPACES):
        raise OSError(ctypes.get_errno(), "unshare")


def mount(what: str, to: str, kind: str, flags: int, data: str = "") -> None:  # pragma: no cover
    """Call ``mount``.

    Raises:
        OSError: The kernel refused.
    """
    texts = [text.encode() if text else None for text in (what, to, kind)]
    if libc().mount(*texts, flags, data.encode() if data else None):
        raise OSError(ctypes.get_errno(), f"mount {to}")


def build_root(root: str, readable: list[str]) -> None:  # pragma: no cover
    """Make a new root that holds read-only libraries and an empty work folder, all read-only.

    It is made once for many programs; each gets a work folder of its own by ``enter_root``.

    Raises:
        OSError: The kernel refused.
    """
    mount("", "/", "", MS_REC | MS_PRIVATE)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755,nr_inodes=1k")
    for path in readable:
        target = root + path
        if os.path.islink(path):
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.symlink(os.readlink(path), target)
        elif os.path.isdir(path):
            os.makedirs(target, exist_ok=True)
            mount(path, target, "", MS_BIND)
            kept = os.statvfs(target).f_flag & KEPT_FLAGS
            mount("", target, "", MS_BIND | MS_REMOUNT | MS_RDONLY | kept)
    os.makedirs(root + WORK)
    mount("", root, "", MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV)


def enter_root(root: str, temp_bytes: int) -> None:  # pragma: no cover
    """Put a fresh, empty work folder into the root and go there.

    Raises:
        OSError: The kernel refused.
    """
    data = f"size={temp_bytes},mode=777,nr_inodes=20k"
    mount("tmpfs", root + WORK, "tmpfs", MS_NOSUID | MS_NODEV, data)
    os.chroot(root)
    os.chdir(WORK)


def limit(job: Job, *, is_candidate: bool) -> None:  # pragma: no cover
    """Set the limits of this process and its children."""
    bounds = {
        resource.RLIMIT_CPU: job["cpu_seconds"],
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
        libc().capset(header, nothing)


def keep_only(*handles: int) -> None:  # pragma: no cover
    """Close every file but some."""
    low = 0
    for handle in sorted(handles):
        if low < handle:
            os.closerange(low, handle)
        low = handle + 1
    os.closerange(low, 65536)


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
