"""Any number of processes, any cache and any death give the same set, or none."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest

from fim.config import CorpusSettings
from fim.corpus import DocumentReader, build_corpus, stdlib_root
from fim.corpus.cache import cache_file
from fim.corpus.parallel import num_processes

SETTINGS = CorpusSettings(held_out_fraction=0.2, holes_per_file=4)
CHILD = """
import sys
from pathlib import Path
from fim.config import CorpusSettings
from fim.corpus import build_corpus
if __name__ == "__main__":
    root, out, cache = map(Path, sys.argv[1:])
    settings = CorpusSettings(held_out_fraction=0.2, holes_per_file=4, processes=2)
    build_corpus([root], settings=settings, out=out, cache=cache)
"""

DOOMED = """
import os, signal, sys
from pathlib import Path
import pyarrow.parquet as pq
from fim.config import CorpusSettings
from fim.corpus import build, build_corpus, shards
if __name__ == "__main__":
    root, out, cache = map(Path, sys.argv[1:4])
    moment, number, processes = sys.argv[4], int(sys.argv[5]), int(sys.argv[6])
    calls = 0
    def dying(whole):
        def call(*args, **keywords):
            global calls
            answer = whole(*args, **keywords)
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        return call
    if moment == "in_a_shard":
        pq.ParquetWriter.write_table = dying(pq.ParquetWriter.write_table)
    elif moment == "before_the_manifest":
        build.write_card = dying(build.write_card)
    elif moment == "at_the_move":
        Path.replace = dying(Path.replace)
    shards.SHARD_ROWS = 16
    settings = CorpusSettings(held_out_fraction=0.2, holes_per_file=4, processes=processes)
    build_corpus([root], settings=settings, out=out, cache=cache)
"""


def module(seed: int) -> str:
    return "".join(
        f"def part_{seed}_{n}(left_{seed}, right_{n}):\n"
        f"    if left_{seed} > {seed * 17 + n}:\n"
        f"        return combine_{seed}(left_{seed}, right_{n}, factor={n})\n"
        f"    return [item_{seed} * {n} for item_{seed} in right_{n}]\n\n\n"
        for n in range(8)
    )


def write_tree(root: Path, num_files: int) -> Path:
    root.mkdir()
    for n in range(num_files):
        (root / f"module_{n}.py").write_text(module(n))
    return root


def files_of(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_one_and_two_processes_give_the_same_bytes(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", 260)
    assert num_processes(2, 260) == 2
    for processes in (1, 2):
        settings = SETTINGS.model_copy(update={"processes": processes})
        build_corpus([root], settings=settings, out=tmp_path / f"set{processes}")
    assert files_of(tmp_path / "set1") == files_of(tmp_path / "set2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["set1", "set2", "tree"]


def test_only_what_changed_is_done_again(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", 30)
    cache = tmp_path / "cache"
    first = build_corpus([root], settings=SETTINGS, out=tmp_path / "one", cache=cache)
    assert first.num_known == {"files": 0, "documents": 0}
    again = build_corpus([root], settings=SETTINGS, out=tmp_path / "two", cache=cache)
    assert again.num_known == {"files": 30, "documents": 30}
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    (root / "module_3.py").write_text(module(300))
    changed = build_corpus([root], settings=SETTINGS, out=tmp_path / "three", cache=cache)
    assert changed.num_known == {"files": 29, "documents": 29}
    fresh = build_corpus([root], settings=SETTINGS, out=tmp_path / "four")
    assert files_of(fresh.out) == files_of(changed.out)


def test_other_settings_share_no_answers_and_old_files_go(tmp_path: Path) -> None:
    one = cache_file(tmp_path, SETTINGS)
    one.touch()
    os.utime(one, (0, 0))
    other = SETTINGS.model_copy(update={"holes_per_file": 5})
    assert cache_file(tmp_path, other) != one
    assert not one.exists()


def test_a_broken_cache_is_made_anew(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", 12)
    cache = tmp_path / "cache"
    plain = build_corpus([root], settings=SETTINGS, out=tmp_path / "one")
    cache_file(cache, SETTINGS).write_bytes(b"no database" * 1000)
    build_corpus([root], settings=SETTINGS, out=tmp_path / "two", cache=cache)
    again = build_corpus([root], settings=SETTINGS, out=tmp_path / "three", cache=cache)
    assert again.num_known["files"] == 12
    assert files_of(plain.out) == files_of(tmp_path / "two") == files_of(again.out)


def copy_of_library(root: Path, num_files: int) -> Path:
    """Copy real source files: some of the running interpreter's standard library."""
    refs = DocumentReader(CorpusSettings(max_files=num_files)).list([stdlib_root()])
    for ref in refs:
        target = root / ref.entry.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((stdlib_root() / ref.entry.path).read_bytes())
    return root


def num_answers(cache: Path) -> int:
    """Count what a build has kept so far."""
    number = 0
    for path in cache.glob("documents-*.sqlite"):
        with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
            number += connection.execute("SELECT COUNT(*) FROM answers").fetchone()[0]
    return number


@pytest.mark.slow
def test_a_build_killed_at_any_moment_leaves_the_earlier_set_and_continues(tmp_path: Path) -> None:
    root = copy_of_library(tmp_path / "tree", 120)
    out, cache = tmp_path / "set", tmp_path / "cache"
    build_corpus([write_tree(tmp_path / "small", 8)], settings=SETTINGS, out=out)
    before = files_of(out)
    moments = [
        lambda: bool(list(tmp_path.glob(".set.*"))),
        *(partial(lambda number: num_answers(cache) >= number, n) for n in (16, 60, 110, 150, 190)),
    ]
    command = [sys.executable, "-c", CHILD, str(root), str(out), str(cache)]
    kept = [0]
    for is_now in moments:
        child = subprocess.Popen(command, start_new_session=True)
        while child.poll() is None and not is_now():
            time.sleep(0.01)
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL
        assert files_of(out) == before
        kept.append(num_answers(cache))
    assert kept == sorted(kept)
    assert kept[-1] >= 190
    built = build_corpus([root], settings=SETTINGS, out=out, cache=cache)
    assert built.num_known["files"] == 120
    plain = build_corpus([root], settings=SETTINGS, out=tmp_path / "plain")
    assert files_of(out) == files_of(plain.out) != before
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["cache", "plain", "set", "small", "tree"]


@pytest.mark.parametrize(
    ("moment", "number", "is_there"),
    [
        ("in_a_shard", 3, True),
        pytest.param("in_a_shard", 1, True, marks=pytest.mark.slow),
        pytest.param("in_a_shard", 6, True, marks=pytest.mark.slow),
        pytest.param("before_the_manifest", 1, True, marks=pytest.mark.slow),
        pytest.param("at_the_move", 1, False, marks=pytest.mark.slow),
    ],
)
def test_a_build_killed_while_it_writes_leaves_no_half_set_and_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str, number: int, is_there: bool
) -> None:
    monkeypatch.setattr("fim.corpus.shards.SHARD_ROWS", 16)
    root, out, cache = write_tree(tmp_path / "tree", 40), tmp_path / "set", tmp_path / "cache"
    build_corpus([write_tree(tmp_path / "small", 8)], settings=SETTINGS, out=out)
    before = files_of(out)
    command = [sys.executable, "-c", DOOMED, str(root), str(out), str(cache)]
    done = subprocess.run([*command, moment, str(number), "1"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert files_of(out) == (before if is_there else {})
    shards = list(tmp_path.glob(".set.*/new/*/*.parquet"))
    assert len(shards) >= min(number, 3)
    built = build_corpus([root], settings=SETTINGS, out=out, cache=cache)
    assert built.num_known == {"files": 40, "documents": 40}
    plain = build_corpus([root], settings=SETTINGS, out=tmp_path / "plain")
    assert files_of(out) == files_of(plain.out) != before
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["cache", "plain", "set", "small", "tree"]


@pytest.mark.slow
def test_two_processes_killed_while_they_write_leave_no_half_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fim.corpus.shards.SHARD_ROWS", 16)
    root, out, cache = write_tree(tmp_path / "tree", 260), tmp_path / "set", tmp_path / "cache"
    build_corpus([write_tree(tmp_path / "small", 8)], settings=SETTINGS, out=out)
    before = files_of(out)
    command = [sys.executable, "-c", DOOMED, str(root), str(out), str(cache), "never", "0", "2"]
    child = subprocess.Popen(command, start_new_session=True)
    while child.poll() is None and not list(tmp_path.glob(".set.*/new/train/part-00002.parquet")):
        time.sleep(0.001)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    assert files_of(out) == before
    build_corpus([root], settings=SETTINGS, out=out, cache=cache)
    plain = build_corpus([root], settings=SETTINGS, out=tmp_path / "plain")
    assert files_of(out) == files_of(plain.out) != before
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["cache", "plain", "set", "small", "tree"]


@pytest.mark.slow
def test_real_files_with_context_give_the_same_bytes_by_any_number(tmp_path: Path) -> None:
    root = copy_of_library(tmp_path / "tree", 400)
    sets = []
    for processes in (1, 2, 3):
        settings = CorpusSettings(processes=processes)
        out = tmp_path / f"set{processes}"
        built = build_corpus([root], settings=settings, out=out)
        sets.append(files_of(out))
        context = built.manifest["context"]
        assert isinstance(context, dict)
        assert context["rows"]["with_context"] > 100
    assert sets[0] == sets[1] == sets[2]


def test_a_set_that_a_killed_build_moved_aside_comes_back(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", 8)
    build_corpus([root], settings=SETTINGS, out=tmp_path / "set")
    before = files_of(tmp_path / "set")
    aside = tmp_path / ".set.killed"
    aside.mkdir()
    (aside / "building.lock").touch()
    (tmp_path / "set").replace(aside / "old")
    build_corpus([root], settings=SETTINGS, out=tmp_path / "set")
    assert files_of(tmp_path / "set") == before
    assert not aside.exists()


def test_an_empty_work_folder_goes_when_its_process_is_gone(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", 8)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    for name in (f".set.{child.pid}-a", f".set.{os.getpid()}-b", ".set.foreign"):
        (tmp_path / name).mkdir()
    build_corpus([root], settings=SETTINGS, out=tmp_path / "set")
    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == sorted([f".set.{os.getpid()}-b", ".set.foreign", "set", "tree"])
