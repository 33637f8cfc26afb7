"""The processes of one program: a candidate that runs the answer, a checker that asks it."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from typing import Any, NoReturn

from .confine import Job, drop_privileges, keep_only, limit
from .plain import decode, encode, receive, send

SHOWN_CHARS = 300


def candidate(job: Job, ask: int, answer: int, null: int) -> NoReturn:  # pragma: no cover
    """Run the answer's program, then answer calls of its entry point for ever."""
    os.setsid()
    _streams(null, null, null)
    keep_only(0, 1, 2, ask, answer)
    os.environ.clear()
    limit(job, is_candidate=True)
    drop_privileges(job["user"])
    scope: dict[str, Any] = {"__name__": "candidate"}
    try:
        exec(compile(job["program"], "candidate.py", "exec"), scope)  # noqa: S102
        function: Any = scope[job["entry_point"]]
    except BaseException as error:  # noqa: BLE001
        send(answer, {"error": type(error).__name__, "text": str(error)[:SHOWN_CHARS]})
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
            reply = {"error": type(error).__name__, "text": str(error)[:SHOWN_CHARS]}
        send(answer, reply)


def script(job: Job, given: int, output: int, null: int) -> NoReturn:  # pragma: no cover
    """Run the answer's program as a script that reads ``given`` and writes ``output``."""
    os.setsid()
    _streams(given, output, null)
    keep_only(0, 1, 2)
    os.environ.clear()
    limit(job, is_candidate=True)
    drop_privileges(job["user"])
    code = 1
    try:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec(compile(job["program"], "candidate.py", "exec"), scope)  # noqa: S102
        code = 0
    except SystemExit as ended:
        code = 0 if ended.code in {None, 0} else 1
    except BaseException:  # noqa: BLE001
        code = 1
    with contextlib.suppress(BaseException):
        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        sys.stdout.flush()
    os._exit(code)


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
    _streams(null, null, null)
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


def _streams(given: int, output: int, errors: int) -> None:  # pragma: no cover
    for handle, stream in enumerate((given, output, errors)):
        os.dup2(stream, handle)
