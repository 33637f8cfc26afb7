"""Ignore rules of several levels say what git says of the same rules in ``.gitignore``."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.corpus.ignores import IgnoreRules, ignore_levels

FOLDERS = ("", "a/", "a/b/", "c/")
PATHS = tuple(f"{folder}{name}" for folder in FOLDERS for name in ("x.py", "y.txt", "keep.py"))
PATTERNS = st.sampled_from(
    ("*.py", "/x.py", "!keep.py", "b/", "a/b/*.txt", "/a", "!x.py", "# note", "", "c/*", "y.*", "!")
)


def git_says(folder: Path, rules: dict[str, list[str]]) -> set[str]:
    """Return the paths that git ignores by these rules."""
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    for path in PATHS:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text("x")
    for place in FOLDERS:
        (folder / place / ".gitignore").write_text("\n".join(rules.get(place, [])))
    answer = subprocess.run(
        ["git", "-C", str(folder), "check-ignore", "--no-index", "--stdin"],
        input="\n".join(PATHS),
        capture_output=True,
        text=True,
        check=False,
    )
    return set(answer.stdout.splitlines())


@given(rules=st.dictionaries(st.sampled_from(FOLDERS), st.lists(PATTERNS, max_size=4)))
def test_levels_count_as_in_git(
    rules: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("ignore")
    texts = {f"{place}.fimignore": "\n".join(lines).encode() for place, lines in rules.items()}
    found = IgnoreRules(ignore_levels(texts))
    assert {path for path in PATHS if found.match_file(path)} == git_says(folder, rules)


def test_a_byte_order_mark_and_windows_line_ends_are_no_part_of_a_pattern() -> None:
    rules = IgnoreRules(ignore_levels({".fimignore": b"\xef\xbb\xbfskip/\r\n*.txt\r\n"}))
    assert rules.match_file("skip/a.py")
    assert rules.match_file("b.txt")
    assert not rules.match_file("b.py")


def test_rules_of_a_deep_folder_and_a_start() -> None:
    rules = IgnoreRules(
        [("", ("/packages/a/skip/",)), ("packages/a/", ("!skip/a.py",))], "packages/a/"
    )
    assert rules.match_file("skip/a.py")
    assert not rules.match_file("src/a.py")
    deep = "/".join(["d"] * 2000)
    assert not rules.match_file(f"{deep}/a.py")
