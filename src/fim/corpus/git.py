"""Read committed files through the git command line, without touching the work tree."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from fim.corpus.disk import name_of, place_of, read_regular
from fim.corpus.notices import command_of
from fim.errors import SourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

_SAFE_OPTIONS = (
    *("-c", "core.protectNTFS=false"),
    *("-c", "core.protectHFS=false"),
    *("-c", "safe.directory=*"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "log.showSignature=false"),
)
_NUM_FACTS = 3
_SAFE_ENVIRONMENT = {
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
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


def run_git(root: Path, *arguments: str, given: bytes = b"") -> bytes:
    """Return what a git command prints.

    Args:
        root: Where it runs.
        arguments: The command.
        given: What it reads.

    Raises:
        SourceNotFoundError: git refuses.
    """
    answer = _run(root, *arguments, given=given)
    if answer.returncode != 0:
        why = _complaint(answer)
        if is_partial(root):
            why = "this partial clone was told to leave out what the command needs"
        raise SourceNotFoundError(
            f"git {arguments[0]} fails in {root}: {why}; what was asked for cannot be read",
            hint=repair_command(root),
        )
    return answer.stdout


def repair_command(root: Path) -> str:
    """Return the command that brings what a repository lacks, or that tells what is broken.

    A partial clone fetches what its filter left out, and keeps its filter unless told otherwise.
    """
    if is_partial(root):
        return command_of("git", "-C", root, "fetch", "--refetch", "--no-filter")
    return command_of("git", "-C", root, "fsck", "--full")


def is_partial(root: Path) -> bool:
    """Tell whether a repository is a clone that was told to leave objects out."""
    names = r"^(extensions\.partialclone|remote\..*\.promisor)$"
    return _run(root, "config", "--get-regexp", names).returncode == 0


def missing_objects(root: Path, commit: str) -> frozenset[str]:
    """Return the objects of a commit's tree that a partial clone does not hold."""
    if not commit or not is_partial(root):
        return frozenset()
    answer = _run(
        root, "rev-list", "--objects", "--no-object-names", "--missing=print", f"{commit}^{{tree}}"
    )
    names = answer.stdout.decode("ascii", "replace").split()
    return frozenset(name[1:] for name in names if name.startswith("?"))


def submodule_paths(root: Path, commit: str) -> frozenset[str]:
    """Return the paths, from the top, of the submodules whose origin a commit tells."""
    where = ("--blob", f"{commit}:.gitmodules", "--get-regexp", r"^submodule\..*\.path$")
    answer = _run(root, "config", "-z", *where)
    items = (item.partition(b"\n")[2] for item in answer.stdout.split(b"\0") if item)
    return frozenset(name_of(item.rstrip(b"/")) for item in items)


def inside_repository(root: Path) -> bool:
    """Tell whether git sees a repository, bare or not, at this folder or above it."""
    return _run(root, "rev-parse", "--git-dir").returncode == 0


def prefix_of(root: Path) -> str:
    """Return a folder's path from the top of its repository, with a slash at its end.

    Empty at the top, in a bare repository, and outside of any.
    """
    answer = _run(root, "rev-parse", "--show-prefix")
    return name_of(answer.stdout.removesuffix(b"\n")) if answer.returncode == 0 else ""


def is_top(root: Path) -> bool:
    """Tell whether a folder is the top of a repository that git can read."""
    return inside_repository(root) and not prefix_of(root)


def has_work_tree(root: Path) -> bool:
    """Tell whether a folder lies in the files of a repository, and not in its store."""
    return _run(root, "rev-parse", "--is-inside-work-tree").stdout.strip() == b"true"


def cut_commits(root: Path) -> frozenset[str]:
    """Return the commits whose parents are cut off or made up: a shallow clone's edge, grafts."""
    found: set[str] = set()
    for name in ("shallow", "info/grafts"):
        found.update(line.split()[0] for line in _own_file(root, name).splitlines() if line.strip())
    return frozenset(found)


def local_attributes(root: Path) -> bytes:
    """Return the attributes that were set in one clone alone; empty where there are none."""
    return _own_file(root, "info/attributes").encode("utf-8", "surrogateescape")


def _own_file(root: Path, name: str) -> str:
    answer = _run(root, "rev-parse", "--git-path", name)
    if answer.returncode != 0:
        return ""
    try:
        content = read_regular(str(root / os.fsdecode(answer.stdout.removesuffix(b"\n"))))
    except OSError:
        return ""
    return content.decode("utf-8", "surrogateescape")


def list_tree(root: Path, commit: str) -> tuple[TreeEntry, ...]:
    """Return the entries of a commit below ``root``, sorted by path.

    Raises:
        SourceNotFoundError: git cannot read the commit's tree.
    """
    return _list(root, "-r", commit)


def list_level(root: Path, commit: str, folder: str) -> tuple[TreeEntry, ...]:
    """Return the entries of a commit that stand directly in one folder, sorted by path.

    Args:
        root: A folder of the repository.
        commit: The commit.
        folder: The folder's path from the top, empty or with a slash at its end.

    Raises:
        SourceNotFoundError: git cannot read the commit's tree.
    """
    where = (place_of(folder),) if folder else ()
    return _list(root, "--full-tree", commit, *where)


def _list(root: Path, *arguments: str) -> tuple[TreeEntry, ...]:
    answer = _run(root, "ls-tree", "-z", *arguments)
    if answer.returncode != 0:
        raise SourceNotFoundError(
            f"git cannot list commit {arguments[1][:12]} of {root}: {_complaint(answer)}; "
            "without its tree there is nothing to build from",
            hint=repair_command(root),
        )
    return tuple(sorted(_parse_tree(answer.stdout), key=lambda entry: entry.path))


def list_untracked_and_index(root: Path) -> tuple[str, ...]:
    """Return the paths that are staged or untracked, ignored ones left out.

    A repository of its own is one path with a slash at its end.
    """
    answer = _run(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return tuple(sorted({name_of(name) for name in answer.stdout.split(b"\0") if name}))


def _complaint(answer: subprocess.CompletedProcess[bytes]) -> str:
    return answer.stderr.decode("utf-8", "replace").strip()[:200]


def _parse_tree(listing: bytes) -> Iterator[TreeEntry]:
    for record in listing.split(b"\0"):
        if record:
            facts, _, path = record.partition(b"\t")
            mode, _, object_id = facts.decode("ascii").split(" ")
            yield TreeEntry(mode, object_id, name_of(path))


def _environment() -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    return kept | _SAFE_ENVIRONMENT


def _command(root: Path, *arguments: str) -> list[str]:
    return ["git", *_SAFE_OPTIONS, "-C", str(root), *arguments]


def _run(root: Path, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(  # noqa: S603
        _command(root, *arguments),
        input=given,
        capture_output=True,
        check=False,
        env=_environment(),
    )


class MissingObjectError(OSError):
    """An object that a partial clone names and does not hold."""


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
            MissingObjectError: A partial clone does not hold the object.
            OSError: The object is missing or corrupt.
        """
        return self._ask("--batch-check", object_id)[0]

    def read(self, object_id: str) -> bytes:
        """Return an object's content.

        Raises:
            MissingObjectError: A partial clone does not hold the object.
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
            if facts[1:] in ([], [b"missing"]) and is_partial(self._root):
                raise MissingObjectError(f"git object {object_id} is missing or corrupt here")
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
