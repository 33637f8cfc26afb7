"""A warm process inside the walls that runs one program after another, a fork for each."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fim.errors import EvaluationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

START_SECONDS = 30.0
MAX_ANSWER_BYTES = 131_072
_HEAD_BYTES = 8
_CHUNK_BYTES = 65_536
_START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from inside.guard import serve; "
    "sys.path.pop(0); serve()"
)


class SandboxServer:
    """A process that forks for every program, with all walls and limits set in the child.

    It ends with its first program that gives no verdict of its own; ``is_alive`` tells.

    Args:
        prefix: Command that makes namespaces; empty for none.
        setup: Makes the first message from the path of an empty folder.

    Raises:
        EvaluationError: It does not start.
    """

    def __init__(self, prefix: Sequence[str], setup: Callable[[str], Mapping[str, object]]) -> None:
        self._root = tempfile.mkdtemp(prefix="fim-run-")
        command = [*prefix, sys.executable, "-I", "-S", "-c", _START, str(Path(__file__).parent)]
        self._process = subprocess.Popen(  # noqa: S603
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._root,
            env={},
            start_new_session=True,
            bufsize=0,
        )
        self.is_alive = True
        ready = self.ask([setup(self._root)], seconds=START_SECONDS)
        if not self.is_alive:
            self.close()
            raise EvaluationError(
                f"the sandbox did not start with {' '.join([*prefix, sys.executable])}, so no "
                "answer can be run",
                hint="fim doctor; check that the temporary folder can be written",
            )
        found = ready.get("walls")
        self.walls = tuple(map(str, found)) if isinstance(found, list) else ()

    def ask(self, messages: Sequence[Mapping[str, object]], *, seconds: float) -> dict[str, object]:
        """Send messages and return the one answer; an empty one where none came in time.

        Args:
            messages: JSON-ready.
            seconds: Longest wait.
        """
        data = b"".join(map(_framed, messages))
        answer = self._exchange(data, time.monotonic() + seconds) if self.is_alive else None
        try:
            found = json.loads(answer or b"{}")
        except ValueError:
            found = {}
        self.is_alive = bool(found) and not found.get("is_last")
        return found if isinstance(found, dict) else {}

    def close(self) -> None:
        """End the process with all that it started, and remove its folder."""
        self.is_alive = False
        with contextlib.suppress(OSError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.communicate()
        shutil.rmtree(self._root, ignore_errors=True)

    def __enter__(self) -> Self:
        """Return the server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the server."""
        self.close()

    def _exchange(self, data: bytes, deadline: float) -> bytes | None:
        """Write and read at once, so that neither side waits for the other."""
        into, out = self._process.stdin, self._process.stdout
        if into is None or out is None:
            return None
        os.set_blocking(into.fileno(), False)
        answer = b""
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            selector.register(into, selectors.EVENT_WRITE)
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fileobj is out:
                        part = os.read(out.fileno(), _CHUNK_BYTES)
                        answer += part
                        if not part or len(answer) > MAX_ANSWER_BYTES:
                            return None
                    else:
                        try:
                            data = data[os.write(into.fileno(), data[:_CHUNK_BYTES]) :]
                        except OSError:
                            return None
                        if not data:
                            selector.unregister(into)
                if _is_whole(answer):
                    return None if data else answer[_HEAD_BYTES:]
        return None


def _is_whole(answer: bytes) -> bool:
    if len(answer) < _HEAD_BYTES:
        return False
    return len(answer) >= _HEAD_BYTES + int.from_bytes(answer[:_HEAD_BYTES], "big")


def _framed(message: Mapping[str, object]) -> bytes:
    body = json.dumps(message).encode("ascii")
    return len(body).to_bytes(_HEAD_BYTES, "big") + body
