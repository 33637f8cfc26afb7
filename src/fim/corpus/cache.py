"""Remember what was found out about a file's content, so that only changed files cost time."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import tempfile
import time
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from fim.corpus.languages import LANGUAGES
from fim.corpus.notices import Notice, command_of, shown
from fim.runs.writing import why_not_writable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fim.config import CorpusSettings

_BUSY_SECONDS = 60.0
_KEPT_SECONDS = 30 * 86_400
_NOT_IN_KEY = frozenset(
    {
        "context_distractor_share",
        "context_items",
        "context_max_tokens",
        "context_none_share",
        "held_out_fraction",
        "held_out_paths",
        "held_out_repos",
        "leak_ngram_tokens",
        "max_files",
        "max_leaks",
        "near_duplicate_threshold",
        "from_commits",
        "processes",
        "split",
        "split_commit",
        "use_cache",
    }
)


def usable_cache(
    folder: Path | None, settings: CorpusSettings
) -> tuple[Path | None, tuple[Notice, ...]]:
    """Return the file for these settings, and what is to be said where it cannot be written.

    A cache only saves time: without one nothing is kept, and what an earlier build kept is used.

    Args:
        folder: Folder of the cache; None keeps nothing.
        settings: Those of the build.
    """
    if folder is None:
        return None, ()
    reason, path, is_there = why_not_writable(folder), None, False
    try:
        path = cache_file(folder, settings)
        is_there = path.exists()
    except OSError as error:
        reason = reason or error.strerror or str(error)
    if not reason:
        return path, ()
    notice = Notice(
        f"the cache {shown(folder)} cannot be written ({reason}); the build goes on without "
        "keeping what it finds out, so the next takes as long; FIM_CACHE_DIR names another folder",
        command_of("export", f"FIM_CACHE_DIR={Path(tempfile.gettempdir()) / 'fim-cache'}"),
    )
    return (path if is_there else None), (notice,)


def cache_file(folder: Path, settings: CorpusSettings) -> Path:
    """Return the file for these settings, this program and these grammars; forget old ones.

    Files that nothing used for 30 days are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"documents-{fingerprint(settings)}.sqlite"
    for other in folder.glob("documents-*.sqlite*"):
        with suppress(OSError):
            if other != path and time.time() - other.stat().st_mtime > _KEPT_SECONDS:
                other.unlink()
    return path


def fingerprint(settings: CorpusSettings) -> str:
    """Return a hash of all that an answer depends on besides the content: settings and programs."""
    values = {
        name: value
        for name, value in settings.model_dump(mode="json").items()
        if name not in _NOT_IN_KEY
    }
    digest = hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=8)
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for package in sorted({language.grammar for language in LANGUAGES if language.grammar}):
        digest.update(f"{package} {_version(package)}".encode())
    return digest.hexdigest()


class DocumentCache:
    """Answers by key in one SQLite file; several processes may use it at once.

    A killed process loses what it had not committed and harms nothing else. A file that cannot be
    used counts as empty and takes nothing.

    Args:
        path: The file; None remembers nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._connection: sqlite3.Connection | None = None
        if path is not None:
            self._connection = _open(path) or _open_again(path)

    def get(self, kind: str, key: str) -> object | None:
        """Return the answer kept under a key, or None."""
        if self._connection is None:
            return None
        try:
            row = self._connection.execute(
                "SELECT value FROM answers WHERE key = ?", (f"{kind}:{key}",)
            ).fetchone()
            return None if row is None else json.loads(row[0])
        except (sqlite3.Error, ValueError):
            return None

    def put(self, answers: Mapping[tuple[str, str], object]) -> None:
        """Keep answers by kind and key, all of them or none."""
        if self._connection is None or not answers:
            return
        rows = [(f"{kind}:{key}", json.dumps(value)) for (kind, key), value in answers.items()]
        with suppress(sqlite3.Error), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _open(path: Path) -> sqlite3.Connection | None:
    connection = None
    try:
        connection = sqlite3.connect(path, timeout=_BUSY_SECONDS)
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
        )
    except sqlite3.Error:
        if connection is not None:
            connection.close()
        return None
    return connection


def _open_again(path: Path) -> sqlite3.Connection | None:
    with suppress(OSError):
        path.unlink()
        return _open(path)
    return None


def _version(package: str) -> str:
    try:
        return metadata.version(package.replace("_", "-"))
    except metadata.PackageNotFoundError:
        return "none"
