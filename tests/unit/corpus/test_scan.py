"""Roots are listed and read; nothing outside them, nothing ignored, nothing forgotten."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fim.corpus import git, stdlib_root
from fim.corpus.reasons import DropReason
from fim.corpus.scan import FolderSource, GitSource, SourceEntry, open_source
from fim.errors import SourceNotFoundError


def run_git(folder: Path, *arguments: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(folder), *arguments],
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repo"
    (root / "src").mkdir(parents=True)
    (root / "src" / "a.py").write_bytes(b"committed\r\n")
    (root / "line\nbreak \U0001f600.py").write_text("odd")
    (root / ".gitignore").write_text("secret.py\n")
    (root / "secret.py").write_text("ignored")
    (root / "link.py").symlink_to("src/a.py")
    run_git(tmp_path, "init", "-q", str(root))
    run_git(root, "add", "-A")
    run_git(root, "commit", "-q", "-m", "first")
    (root / "src" / "a.py").write_text("edited")
    (root / "untracked.py").write_text("new")
    return root


def listed(root: Path, **options: Path) -> dict[str, DropReason | None]:
    with open_source(root, **options) as source:
        return {entry.path: entry.reason for entry in source.entries()}


def test_a_repository_is_read_at_its_commit(repository: Path) -> None:
    with open_source(repository) as source:
        entries = {entry.path: entry for entry in source.entries()}
        assert source.kind == "git"
        assert source.commit is not None
        assert source.read(entries["src/a.py"]) == b"committed\r\n"
        assert source.size_bytes(entries["src/a.py"]) == 11
        assert source.read(entries["line\nbreak \U0001f600.py"]) == b"odd"
    assert entries["link.py"].reason == DropReason.SYMLINK
    assert set(entries) == {".gitignore", "line\nbreak \U0001f600.py", "link.py", "src/a.py"}


def test_a_folder_inside_a_repository_lists_only_itself(repository: Path) -> None:
    assert listed(repository / "src") == {"a.py": None}


def test_a_bare_repository_is_read(repository: Path, tmp_path: Path) -> None:
    run_git(tmp_path, "clone", "-q", "--bare", str(repository), str(tmp_path / "bare.git"))
    assert "src/a.py" in listed(tmp_path / "bare.git")


def test_an_ignored_folder_inside_a_repository_is_walked(repository: Path) -> None:
    (repository / "secret.py").unlink()
    (repository / "secret.py").mkdir()
    (repository / "secret.py" / "own.py").write_text("x")
    assert listed(repository / "secret.py") == {"own.py": None}


def test_before_the_first_commit_ignored_files_stay_out(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "-q", str(tmp_path))
    (tmp_path / ".gitignore").write_text("b.py\n")
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(name)
    assert listed(tmp_path) == {".gitignore": None, "a.py": None}


def test_submodules_are_told(repository: Path) -> None:
    run_git(repository, "update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},sub")
    run_git(repository, "commit", "-q", "-m", "sub")
    assert listed(repository)["sub"] == DropReason.SUBMODULE


def test_a_corrupt_object_is_one_unreadable_file(repository: Path) -> None:
    with open_source(repository) as source:
        entries = {entry.path: entry for entry in source.entries()}
        damaged = entries["src/a.py"].object_id
        blob = repository / ".git" / "objects" / damaged[:2] / damaged[2:]
        blob.chmod(0o600)
        blob.write_bytes(b"garbage")
        with pytest.raises(OSError, match=r"missing or corrupt|ends early"):
            source.read(entries["src/a.py"])
        assert source.read(entries[".gitignore"]) == b"secret.py\n"
        with pytest.raises(OSError, match="missing or corrupt"):
            source.read(SourceEntry("x", None, "1" * 40))


def test_a_corrupt_tree_is_a_clear_error(repository: Path) -> None:
    commit = git.head_commit(repository)
    assert commit is not None
    tree = subprocess.run(
        ["git", "-C", str(repository), "rev-parse", f"{commit}^{{tree}}"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    (repository / ".git" / "objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(SourceNotFoundError, match="cannot list commit") as caught:
        open_source(repository)
    assert "fsck" in caught.value.hint


def test_a_broken_git_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere/at/all\n")
    with pytest.raises(SourceNotFoundError, match="cannot read"):
        open_source(tmp_path)


def test_without_git_a_repository_is_refused_and_a_folder_is_walked(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "a.py").write_text("x")
    monkeypatch.setattr(git, "git_available", lambda: False)
    with pytest.raises(SourceNotFoundError, match="no git command"):
        open_source(repository)
    assert listed(plain) == {"a.py": None}


def test_variables_of_an_outer_git_are_not_followed(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    assert "src/a.py" in listed(repository)


def test_a_folder_is_walked_without_following_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").write_text("outside")
    root = tmp_path / "root"
    (root / "deep" / ".git").mkdir(parents=True)
    (root / "deep" / ".git" / "config.py").write_text("x")
    (root / "deep" / "a.py").write_text("inside")
    (root / "loop").symlink_to(root)
    (root / "out").symlink_to(outside)
    (root / "file.py").symlink_to(outside / "secret.py")
    os.mkfifo(root / "pipe.py")
    assert listed(root) == {
        "deep/a.py": None,
        "loop": DropReason.SYMLINK,
        "out": DropReason.SYMLINK,
        "file.py": DropReason.SYMLINK,
        "pipe.py": DropReason.NOT_A_FILE,
    }


def test_reading_a_link_or_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "b").symlink_to("a")
    os.mkfifo(tmp_path / "c")
    source = FolderSource(tmp_path)
    for name in ("b", "c", "gone"):
        with pytest.raises(OSError, match=r"b|c|gone"):
            source.read(SourceEntry(name))


def test_a_folder_that_becomes_a_link_out_of_the_root_is_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.py").write_text("outside")
    root = tmp_path / "root"
    (root / "inside").mkdir(parents=True)
    (root / "inside" / "a.py").write_text("inside")
    source = FolderSource(root)
    entry = source.entries()[0]
    assert source.read(entry) == b"inside"
    (root / "inside").rename(root / "moved")
    (root / "inside").symlink_to(outside)
    with pytest.raises(OSError, match="links out of the root"):
        source.read(entry)


def test_the_output_folder_is_never_listed(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "manifest.json").write_text("{}")
    (tmp_path / "outer.py").write_text("y")
    assert listed(tmp_path, skip=tmp_path / "out") == {"a.py": None, "outer.py": None}


def test_an_unlistable_folder_and_a_vanished_file_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert listed(tmp_path) == {"closed": DropReason.UNREADABLE}
    gone = FolderSource(tmp_path, only=("gone.py",))
    assert [entry.reason for entry in gone.entries()] == [DropReason.UNREADABLE]


def test_a_single_file_is_a_root(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x")
    assert listed(tmp_path / "a.py") == {"a.py": None}


def test_a_missing_root_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        open_source(tmp_path / "nope")


def test_an_empty_repository_source_keeps_its_commit(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "-q", str(tmp_path))
    run_git(tmp_path, "commit", "-q", "--allow-empty", "-m", "none")
    with open_source(tmp_path) as source:
        assert isinstance(source, GitSource)
        assert source.entries() == ()


def test_the_standard_library_is_found() -> None:
    assert (stdlib_root() / "json" / "decoder.py").is_file()
