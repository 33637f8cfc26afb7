"""Read committed files through the git command line, without touching the work tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_SAFE_OPTIONS = (
    *("-c", "safe.directory=*"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "log.showSignature=false"),
)
_NUM_FACTS = 3
_SAFE_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One line of a commit's tree: file mode, object id and path relative to the folder listed."""

    mode: str
    object_id: str
    path: str


def git_available() -> bool:
    """Tell whether a git command line is installed."""
    return shutil.which("git") is not None


def head_commit(root: Path) -> str | None:
    """Return the id of the commit that HEAD names, or None where there is none."""
    answer = _run(root, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
    return answer.stdout.decode("ascii").strip() if answer.returncode == 0 else None


def resolve_commit(root: Path, revision: str) -> str | None:
    """Return the id of the commit that a revision names, or None where there is none."""
    answer = _run(
        root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
    )
    found = answer.stdout.decode("ascii", "replace").split()
    return found[-1] if answer.returncode == 0 and found else None


def run_git(root: Path, *arguments: str) -> bytes:
    """Return what a reading git command prints.

    Raises:
        SourceNotFoundError: git refuses.
    """
    answer = _run(root, *arguments)
    if answer.returncode != 0:
        raise SourceNotFoundError(
            f"git {arguments[0]} fails in {root}: "
            f"{answer.stderr.decode('utf-8', 'replace').strip()[:200]}; "
            "the history that was asked for cannot be read",
            hint=f"git -C {root} fsck; a shallow clone needs git fetch --unshallow",
        )
    return answer.stdout


def inside_repository(root: Path) -> bool:
    """Tell whether git sees a repository, bare or not, at this folder or above it."""
    return _run(root, "rev-parse", "--git-dir").returncode == 0


def list_tree(root: Path, commit: str) -> tuple[TreeEntry, ...]:
    """Return the entries of a commit below ``root``, sorted by path.

    Raises:
        SourceNotFoundError: git cannot read the commit's tree.
    """
    answer = _run(root, "ls-tree", "-r", "-z", commit)
    if answer.returncode != 0:
        raise SourceNotFoundError(
            f"git cannot list commit {commit[:12]} of {root}: "
            f"{answer.stderr.decode('utf-8', 'replace').strip()[:200]}; "
            "without its tree there is nothing to build from",
            hint=f"git -C {root} fsck",
        )
    return tuple(sorted(_parse_tree(answer.stdout), key=lambda entry: entry.path))


def list_untracked_and_index(root: Path) -> tuple[str, ...]:
    """Return the paths that are staged or untracked, ignored ones left out."""
    answer = _run(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    names = {os.fsdecode(name) for name in answer.stdout.split(b"\0") if name}
    return tuple(sorted(names))


def _parse_tree(listing: bytes) -> Iterator[TreeEntry]:
    for record in listing.split(b"\0"):
        if record:
            facts, _, path = record.partition(b"\t")
            mode, _, object_id = facts.decode("ascii").split(" ")
            yield TreeEntry(mode, object_id, os.fsdecode(path))


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return kept | _SAFE_ENVIRONMENT


def _command(root: Path, *arguments: str) -> list[str]:
    return ["git", *_SAFE_OPTIONS, "-C", str(root), *arguments]


def _run(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603
        _command(root, *arguments), capture_output=True, check=False, env=_environment()
    )


class BlobReader:
    """A pair of ``git cat-file`` processes that answer sizes and contents of objects.

    A process that dies on a corrupt object is started again for the next one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> BlobReader:
        """Return itself; processes start at the first question."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End both processes."""
        self.close()

    def close(self) -> None:
        """End both processes."""
        for mode in tuple(self._processes):
            self._end(mode)

    def size_bytes(self, object_id: str) -> int:
        """Return an object's size.

        Raises:
            OSError: The object is missing or corrupt.
        """
        return self._ask("--batch-check", object_id)[0]

    def read(self, object_id: str) -> bytes:
        """Return an object's content.

        Raises:
            OSError: The object is missing or corrupt.
        """
        return self._ask("--batch", object_id)[1]

    def _ask(self, mode: str, object_id: str) -> tuple[int, bytes]:
        process = self._process(mode)
        try:
            if process.stdin is None or process.stdout is None:
                raise OSError("git answers on no pipe")
            process.stdin.write(object_id.encode("ascii") + b"\n")
            process.stdin.flush()
            facts = process.stdout.readline().split()
            if len(facts) != _NUM_FACTS or not facts[2].isdigit():
                raise OSError(f"git object {object_id} is missing or corrupt")
            size = int(facts[2])
            content = process.stdout.read(size + 1)[:size] if mode == "--batch" else b""
            if mode == "--batch" and len(content) != size:
                raise OSError(f"git object {object_id} ends early")
        except OSError:
            self._end(mode)
            raise
        return size, content

    def _process(self, mode: str) -> subprocess.Popen[bytes]:
        if mode not in self._processes:
            self._processes[mode] = subprocess.Popen(  # noqa: S603
                _command(self._root, "cat-file", mode),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=_environment(),
            )
        return self._processes[mode]

    def _end(self, mode: str) -> None:
        process = self._processes.pop(mode, None)
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                _close_quietly(stream)


def _close_quietly(stream: IO[bytes]) -> None:
    with suppress(BrokenPipeError):
        stream.close()
