"""Marks of ``.gitattributes`` are what git says they are."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fim.corpus.attributes import GENERATED, VENDORED, read_attributes

TEXTS = {
    ".gitattributes": (
        b"\xef\xbb\xbffirst.py linguist-generated\n[attr]machine linguist-generated\n"
        b'"gen dir/**" linguist-generated\n"gr\\303\\274n.py" linguist-vendored\nm/** machine\n'
        b"m/own.py !linguist-generated\nlib/** linguist-vendored=true\n"
    ),
    "lib/.gitattributes": b"mine.py -linguist-vendored\r\nno.py linguist-vendored=false\r\n",
}
PATHS = (
    "first.py",
    "gen dir/a.py",
    "gr\u00fcn.py",
    "m/a.py",
    "m/own.py",
    "lib/a.py",
    "lib/mine.py",
    "lib/no.py",
    "b.py",
    "bad\udcff.py",
)


def git_says(folder: Path, name: str) -> dict[str, str]:
    """Return what git says of each path in a work tree with the same files."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for path, text in TEXTS.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(text)
    asked = "\0".join(PATHS).encode("utf-8", "surrogateescape")
    command = ["git", "-C", str(folder), "check-attr", "-z", "--stdin", name]
    answer = subprocess.run(command, input=asked, capture_output=True, check=True).stdout
    fields = answer.decode("utf-8", "surrogateescape").split("\0")
    return dict(zip(fields[::3], fields[2::3], strict=False))


@pytest.mark.parametrize("name", [GENERATED, VENDORED])
def test_git_is_asked(tmp_path: Path, name: str) -> None:
    words = {"set": True, "true": True, "unset": False, "false": False, "unspecified": None}
    marks = read_attributes(TEXTS, PATHS)
    said = git_says(tmp_path, name)
    assert {path: marks.value(path, name) for path in PATHS} == {
        path: words[said[path]] for path in PATHS
    }


def test_marks_of_the_levels_above_count() -> None:
    texts = {".gitattributes": b"packages/a/gen/** linguist-generated\n", "packages/a/x.py": b""}
    marks = read_attributes(texts, ("gen/a.py", "src/a.py"), prefix="packages/a/")
    assert marks.value("gen/a.py", GENERATED) is True
    assert marks.value("src/a.py", GENERATED) is None


def test_names_that_no_commit_may_hold_are_passed_over() -> None:
    texts = {
        "../.gitattributes": b"* linguist-generated\n",
        ".git/.gitattributes": b"* linguist-generated\n",
        "git~1/.gitattributes": b"a.py linguist-generated\n",
    }
    marks = read_attributes(texts, ("../a.py", "/a.py", "a.py", "git~1/a.py", ".git/a.py"))
    assert marks.value("a.py", GENERATED) is None
    assert marks.value("git~1/a.py", GENERATED) is True


def test_without_marks_git_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert read_attributes({"LICENSE": b"MIT"}, ("a.py",)).value("a.py", GENERATED) is None
