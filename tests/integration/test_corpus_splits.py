"""Splits by repository, path and time; commit mode; a commit; one file explained."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fim.config import CorpusSettings
from fim.corpus import FileExplanation, build_corpus, check_corpus, explain_file
from fim.errors import ConflictingSettingsError, InvalidSettingError, SourceNotFoundError

SETTINGS = CorpusSettings(held_out_fraction=0.3, holes_per_file=6)


def module(seed: int, num_functions: int = 10) -> str:
    return "".join(
        f"def part_{seed}_{n}(left_{seed}, right_{n}):\n"
        f"    if left_{seed} > {seed * 17 + n}:\n"
        f"        return combine_{seed}(left_{seed}, right_{n}, factor={n})\n"
        f"    return [item_{seed} * {n} for item_{seed} in right_{n}]\n\n\n"
        for n in range(num_functions)
    )


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def commit(root: Path, message: str) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", message)


def use(**values: object) -> CorpusSettings:
    return CorpusSettings.model_validate({**SETTINGS.model_dump(), **values})


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    root.mkdir()
    git(root, "init", "-q")
    for n in range(8):
        (root / f"m{n}.py").write_text(module(n))
    commit(root, "one")
    git(root, "tag", "v1")
    with (root / "m0.py").open("a") as file:
        file.write(module(100, 6))
    git(root, "mv", "m1.py", "renamed.py")
    (root / "copy.py").write_text(module(2) + "EXTRA = 1\n")
    (root / "new.py").write_text(module(200))
    commit(root, "two")
    return root


def test_repositories_are_held_out_whole_and_forks_go_along(tmp_path: Path) -> None:
    roots = []
    for name, first in (("a", 0), ("b", 50), ("fork_of_b", 50)):
        root = tmp_path / name
        root.mkdir()
        for n in range(first, first + 6):
            (root / f"m{n}.py").write_text(module(n) + f"NAME = '{name}'\n")
        (root / "own.py").write_text(module(len(roots) + 70))
        roots.append(root)
    built = build_corpus(roots, settings=use(split="repo"), out=tmp_path / "set")
    sides = {frozenset(row.repo for row in side) for side in (built.train, built.held_out)}
    assert sides == {frozenset({"a"}), frozenset({"b", "fork_of_b"})}
    named = use(split="repo", held_out_repos=("b",))
    built = build_corpus(roots, settings=named, out=tmp_path / "named")
    assert {row.repo for row in built.held_out} == {"b"}
    assert {row.path for row in built.train if row.repo != "a"} == {"own.py"}
    files = built.manifest["files"]
    assert isinstance(files, dict)
    assert files["dropped"] == {"like_held_out": 6}
    assert check_corpus(built.out).is_clean


def test_paths_are_held_out_with_what_is_like_them(repository: Path, tmp_path: Path) -> None:
    settings = use(split="path-prefix", held_out_paths=("m2.py", "project/m3.py"))
    built = build_corpus([repository], settings=settings, out=tmp_path / "set")
    assert {row.path for row in built.held_out} == {"m2.py", "m3.py"}
    assert "copy.py" not in {row.path for row in built.train}
    files = built.manifest["files"]
    assert isinstance(files, dict)
    assert files["dropped"] == {"like_held_out": 1}
    assert check_corpus(built.out).is_clean


@pytest.mark.parametrize("paths", [(), ("nowhere",), ("m0.py", "m2.py", "renamed.py", "x")])
def test_a_path_split_needs_both_sides(
    repository: Path, tmp_path: Path, paths: tuple[str, ...]
) -> None:
    settings = use(split="path-prefix", held_out_paths=paths)
    if len(paths) == 4:
        settings = use(split="path-prefix", held_out_paths=("project",))
    with pytest.raises(InvalidSettingError) as caught:
        build_corpus([repository], settings=settings, out=tmp_path / "set")
    assert caught.value.hint
    assert not (tmp_path / "set").exists()


def test_lines_added_after_a_commit_are_held_out(repository: Path, tmp_path: Path) -> None:
    settings = use(split="time", split_commit="v1")
    built = build_corpus([repository], settings=settings, out=tmp_path / "set")
    by_path = {row.path for row in built.held_out}
    assert by_path == {"m0.py", "copy.py", "new.py"}
    old = module(0)
    for row in built.held_out:
        if row.path == "m0.py":
            assert len(row.prefix) >= len(old)
        if row.path == "copy.py":
            assert row.middle in (module(2) + "EXTRA = 1\n")
    trained = {row.path for row in built.train}
    assert trained == {"m3.py", "m4.py", "m5.py", "m6.py", "m7.py", "renamed.py"}
    assert check_corpus(built.out).is_clean


def test_a_split_by_time_needs_its_commit(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ConflictingSettingsError, match="the commit that divides"):
        build_corpus([repository], settings=use(split="time"), out=tmp_path / "set")
    settings = use(split="time", split_commit="v9")
    with pytest.raises(SourceNotFoundError, match="no such commit"):
        build_corpus([repository], settings=settings, out=tmp_path / "set")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.py").write_text(module(1))
    with pytest.raises(SourceNotFoundError, match="no git repository"):
        build_corpus([folder], settings=settings, out=tmp_path / "set")


def test_a_commit_is_read_in_place_of_head(repository: Path, tmp_path: Path) -> None:
    built = build_corpus([repository], settings=SETTINGS, out=tmp_path / "set", revision="v1")
    paths = {row.path for row in (*built.train, *built.held_out)}
    assert paths == {f"m{n}.py" for n in range(8)}


def test_holes_of_commits_lie_in_the_lines_they_added(repository: Path, tmp_path: Path) -> None:
    with (repository / "new.py").open("a") as file:
        file.write(module(201, 4))
    commit(repository, "three")
    built = build_corpus([repository], settings=use(from_commits=2), out=tmp_path / "set")
    rows = (*built.train, *built.held_out)
    assert {row.path for row in rows} == {"m0.py", "copy.py", "new.py"}
    texts = {row.prefix + row.middle + row.suffix for row in rows if row.path == "new.py"}
    assert texts <= {module(200), module(200) + module(201, 4)}
    assert len({row.split for row in rows if row.path == "new.py"}) == 1
    last = build_corpus([repository], settings=use(from_commits=1), out=tmp_path / "last")
    for row in (*last.train, *last.held_out):
        assert row.path == "new.py"
        assert len(row.prefix) >= len(module(200))


def test_only_included_files_are_read(repository: Path, tmp_path: Path) -> None:
    built = build_corpus(
        [repository], settings=SETTINGS, out=tmp_path / "set", include=["m*.py"], exclude=["m7.py"]
    )
    paths = {row.path for row in (*built.train, *built.held_out)}
    assert paths == {"m0.py", "m2.py", "m3.py", "m4.py", "m5.py", "m6.py"}


def test_one_file_is_explained(repository: Path, tmp_path: Path) -> None:
    (repository / "package-lock.json").write_text("{}")
    commit(repository, "lock")

    def explained(file: Path) -> FileExplanation:
        return explain_file([repository], file, settings=SETTINGS, cache=tmp_path / "cache")

    used = explained(Path("m3.py"))
    assert used.is_used
    assert used.as_json()["rows"] == used.num_rows > 0
    assert explained(repository / "copy.py").num_alike == 1
    dropped = explained(Path("project/package-lock.json"))
    assert (dropped.is_used, dropped.reason) == (False, "lock_file")
    with pytest.raises(SourceNotFoundError, match="never sees it"):
        explained(Path("none.py"))
