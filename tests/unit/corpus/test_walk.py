"""A walk names files and the repositories that it does not enter."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim.corpus.reasons import DropReason
from fim.corpus.walk import walk


def write(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text("x")


@pytest.mark.parametrize(
    "signs",
    [
        ("HEAD", "config", "objects/x"),
        ("HEAD",),
        ("packed-refs",),
    ],
)
def test_a_folder_of_git_is_a_repository(tmp_path: Path, signs: tuple[str, ...]) -> None:
    write(tmp_path, "a.py", "deep/app/b.py", *(f"deep/app/.git/{sign}" for sign in signs))
    found = walk(tmp_path)
    assert found.files == (("a.py", None),)
    assert found.repositories == ("deep/app",)


def test_files_links_empty_folders_and_stores_are_signs_too(tmp_path: Path) -> None:
    write(tmp_path, "file/.git", "bare.git/HEAD", "bare.git/objects/x", "bare.git/refs/x")
    write(tmp_path, "store/HEAD", "link/a.py", "empty/a.py", "not/.git/config.py", "not/a.py")
    (tmp_path / "link/.git").symlink_to(tmp_path / "bare.git")
    (tmp_path / "empty/.git").mkdir()
    found = walk(tmp_path)
    assert found.repositories == ("bare.git", "empty", "file", "link")
    assert found.files == (("not/a.py", None), ("store/HEAD", None))


def test_the_root_itself_is_always_walked(tmp_path: Path) -> None:
    write(tmp_path, ".git/HEAD", "a.py", "out/b.py")
    (tmp_path / "c.py").symlink_to("a.py")
    found = walk(tmp_path, skip=tmp_path / "out")
    assert found.files == (("a.py", None), ("c.py", DropReason.SYMLINK))
    assert found.repositories == ()
