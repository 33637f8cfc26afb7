"""A repository's own settings run no program while it is read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fim.corpus import git
from fim.corpus.commits import lines_added_since
from fim.corpus.history import read_log

SIGNED = (
    "tree {tree}\nparent {parent}\n"
    "author t <t@example.org> 1700000000 +0000\ncommitter t <t@example.org> 1700000000 +0000\n"
    "gpgsig -----BEGIN PGP SIGNATURE-----\n \n iQ\n -----END PGP SIGNATURE-----\n\nsecond\n"
)


def run(root: Path, *arguments: str, text: str = "") -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
    environment |= {"GIT_CONFIG_NOSYSTEM": "1", "HOME": str(root)}
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *who, "-C", str(root), *arguments]
    done = subprocess.run(
        command, input=text, check=True, capture_output=True, text=True, env=environment
    )
    return done.stdout.strip()


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """Return a repository whose settings name a program wherever git would run one."""
    root, program = tmp_path / "app", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    program.chmod(0o755)
    root.mkdir()
    run(root, "init", "-q", "-b", "main")
    for number in (1, 2):
        (root / "module.py").write_text("value = 1\n" * number)
        run(root, "add", "-A")
        run(root, "commit", "-q", "-m", str(number))
    tree, parent = run(root, "rev-parse", "HEAD^{tree}"), run(root, "rev-parse", "HEAD~1")
    content = SIGNED.format(tree=tree, parent=parent)
    signed = run(root, "hash-object", "-t", "commit", "-w", "--stdin", text=content)
    run(root, "reset", "-q", "--hard", signed)
    (root / ".git/info").mkdir(exist_ok=True)
    (root / ".git/info/attributes").write_text("*.py diff=x filter=x\n")
    run(root, "config", "log.showSignature", "true")
    for name in (
        "gpg.program",
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "diff.external",
        "diff.x.command",
        "diff.x.textconv",
        "filter.x.clean",
        "filter.x.smudge",
    ):
        run(root, "config", name, str(program))
    return root


def test_no_program_of_a_repository_is_run(hostile: Path, tmp_path: Path) -> None:
    head = git.head_commit(hostile)
    assert head is not None
    log = read_log(hostile, head, 10)
    assert [commit.paths for commit in log] == [("module.py",), ("module.py",)]
    added = lines_added_since(hostile, log[1].id, head)
    assert dict(added) == {"module.py": ((2, 2),)}
    (entry,) = git.list_tree(hostile, head)
    with git.BlobReader(hostile) as reader:
        assert reader.read(entry.object_id) == b"value = 1\n" * 2
    assert git.list_untracked_and_index(hostile) == ("module.py",)
    assert not (tmp_path / "ran").exists()
    run(hostile, "log", "-1")
    assert (tmp_path / "ran").exists()


def test_a_missing_object_is_not_fetched(hostile: Path, tmp_path: Path) -> None:
    name = run(hostile, "rev-parse", "HEAD:module.py")
    (hostile / ".git/objects" / name[:2] / name[2:]).unlink()
    for key, value in {
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
        "protocol.ext.allow": "always",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{tmp_path / 'program'}",
    }.items():
        run(hostile, "config", key, value)
    with git.BlobReader(hostile) as reader, pytest.raises(OSError, match="missing or corrupt"):
        reader.read(name)
    assert not (tmp_path / "ran").exists()
