"""Context of real builds: recently changed files, the parent of a commit, other pools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fim.config import CorpusSettings
from fim.corpus import BuiltCorpus, build_corpus, check_corpus, library
from fim.corpus.history import (
    History,
    LoggedCommit,
    changes_by_path,
    last_changes,
    maker_of,
    read_log,
)

SETTINGS = CorpusSettings(
    held_out_fraction=0.3,
    holes_per_file=6,
    context_none_share=0.0,
    context_distractor_share=0.0,
    context_items=8,
    context_max_tokens=4000,
)


def module(seed: int, num_functions: int = 8) -> str:
    return "".join(
        f"def part_{seed}_{n}(ledger_{seed}, account_{n}):\n"
        f"    balance_{seed} = read_balance(ledger_{seed}, account_{n}, {seed * 31 + n})\n"
        f"    if balance_{seed} > {seed * 17 + n}:\n"
        f"        return combine_{seed}(ledger_{seed}, account_{n}, factor={n})\n"
        f"    return [item_{seed} * {n} for item_{seed} in account_{n}]\n\n\n"
        for n in range(num_functions)
    )


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def commit(root: Path, message: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", message)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Four commits: 16 files, then three that each add functions to files of other folders."""
    root = tmp_path / "project"
    for n in range(16):
        folder = root / f"part{n % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"m{n}.py").write_text(module(n))
    git(root, "init", "-q", "-b", "main")
    commit(root, "one")
    for number in range(1, 4):
        for n in (number, number + 4, number + 8):
            with (root / f"part{n % 4}" / f"m{n}.py").open("a") as file:
                file.write(module(100 * number + n, 5))
        (root / f"fresh{number}.py").write_text(module(1000 + number))
        commit(root, f"change {number}")
    return root


def texts_at(root: Path, revision: str) -> dict[str, str]:
    def run(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True
        ).stdout

    paths = run("ls-tree", "-r", "--name-only", revision).split()
    return {path: run("show", f"{revision}:{path}") for path in paths}


def test_the_log_names_the_newest_first(repository: Path) -> None:
    log = read_log(repository, "HEAD", 2)
    assert [commit.paths[0] for commit in log] == ["fresh3.py", "fresh2.py"]
    changes = changes_by_path(read_log(repository, "HEAD", 10))
    assert changes["part1/m9.py"] == (2, 3)
    assert last_changes(repository, "HEAD")["part0/m0.py"] == 3
    assert last_changes(repository / "part1", "HEAD") == {
        "m1.py": 0,
        "m5.py": 0,
        "m9.py": 0,
        "m13.py": 1,
    }
    assert last_changes(repository.parent, "HEAD") == {}


def test_odd_names_are_read_from_the_log(tmp_path: Path) -> None:
    (tmp_path / "line\nbreak.py").write_text("x")
    (tmp_path / "\nfirst.py").write_text("x")
    git(tmp_path, "init", "-q")
    commit(tmp_path, "one")
    assert read_log(tmp_path, "HEAD", 1)[0].paths == ("\nfirst.py", "line\nbreak.py")


def test_a_version_is_dated_by_the_commit_that_made_it() -> None:
    log = [LoggedCommit("c", ("a",)), LoggedCommit("b", ("b",)), LoggedCommit("a", ("a", "b"))]
    changes = changes_by_path(log)
    assert maker_of(((0, 1),), changes["a"]) == 2
    assert maker_of(((0, 0),), changes["b"]) == 1
    assert maker_of(((0, 2),), changes["b"]) is None
    version = History(2, None, ((0, 1),))
    assert [version.is_seen_from(commit) for commit in (0, 1, 2, None)] == [True, True, False, True]


def test_windows_of_recently_changed_files_are_given(repository: Path, tmp_path: Path) -> None:
    built = build_corpus([repository], settings=SETTINGS, out=tmp_path / "set")
    context = built.manifest["context"]
    assert isinstance(context, dict)
    assert context["items"]["recent"] > 0
    without = tmp_path / "folder"
    git(repository, "checkout-index", "-a", f"--prefix={without}/")
    plain = build_corpus([without], settings=SETTINGS, out=tmp_path / "plain")
    context = plain.manifest["context"]
    assert isinstance(context, dict)
    assert "recent" not in context["items"]


def context_paths(built: BuiltCorpus) -> set[str | None]:
    return {item.path for row in (*built.train, *built.held_out) for item in row.context}


def test_holes_of_a_commit_see_the_files_of_its_parent(repository: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"from_commits": 1})
    built = build_corpus([repository], settings=settings, out=tmp_path / "set")
    before, after = texts_at(repository, "HEAD^"), texts_at(repository, "HEAD")
    rows = (*built.train, *built.held_out)
    assert {row.path for row in rows} == {"fresh3.py", "part3/m3.py", "part3/m7.py", "part3/m11.py"}
    assert all(row.prefix + row.middle + row.suffix == after[str(row.path)] for row in rows)
    items = [item for row in rows for item in row.context]
    assert len(context_paths(built) - {row.path for row in rows}) > 3
    assert all(item.text in before[str(item.path)] for item in items)
    assert "fresh3.py" not in context_paths(built)
    files = built.manifest["files"]
    assert isinstance(files, dict)
    assert files["dropped"]["context_only"] >= 15
    assert files["seen"] == files["used"] + sum(files["dropped"].values())
    assert check_corpus(built.out).is_clean


def test_every_commit_sees_its_own_parent(repository: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"from_commits": 3})
    built = build_corpus([repository], settings=settings, out=tmp_path / "set")
    states = [texts_at(repository, revision) for revision in ("HEAD~3", "HEAD~2", "HEAD~1")]
    whole = texts_at(repository, "HEAD")
    num_items = 0
    for row in (*built.train, *built.held_out):
        text = row.prefix + row.middle + row.suffix
        number = next(n for n in range(1, 4) if text == [*states, whole][n].get(str(row.path)))
        for item in row.context:
            assert item.text in states[number - 1][str(item.path)]
            num_items += 1
    assert num_items > 10
    assert check_corpus(built.out).is_clean
    again = build_corpus([repository], settings=settings, out=tmp_path / "again")
    assert again.manifest == built.manifest


def test_without_context_only_the_changed_files_are_read(repository: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"from_commits": 1, "context_items": 0})
    built = build_corpus([repository], settings=settings, out=tmp_path / "set")
    files = built.manifest["files"]
    assert isinstance(files, dict)
    assert (files["seen"], files["dropped"]) == (4, {})


def test_imports_reach_into_other_pools_and_repositories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "POOL_BYTES", 4000)
    roots = [tmp_path / "app", tmp_path / "base"]
    (roots[1] / "ledgers").mkdir(parents=True)
    roots[0].mkdir()
    (roots[1] / "ledgers" / "balances.py").write_text(
        "def read_balance(ledger, account, limit):\n    found = ledger.rows[account]\n"
        "    return min(found, limit)\n\n\n" + module(900, 3)
    )
    for n in range(10):
        body = "from ledgers.balances import read_balance\n\n\n" + module(n)
        (roots[0] / f"m{n}.py").write_text(body)
    settings = SETTINGS.model_copy(update={"held_out_fraction": 0.1, "context_items": 3})
    built = build_corpus(roots, settings=settings, out=tmp_path / "set")
    given = [
        row for row in built.train if any(i.path == "ledgers/balances.py" for i in row.context)
    ]
    assert len(given) > len(built.train) / 3
    monkeypatch.setattr(library, "GUEST_BYTES", 10)
    built = build_corpus(roots, settings=settings, out=tmp_path / "narrow")
    context = built.manifest["context"]
    assert isinstance(context, dict)
    assert context["items_dropped"]["import_over_pool_room"] > 0
