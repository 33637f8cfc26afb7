"""Hostile repositories: secrets everywhere, giant files, odd names, broken and bare git."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fim.config import CorpusSettings
from fim.corpus import BuiltCorpus, build_corpus
from fim.errors import SourceNotFoundError

SETTINGS = CorpusSettings(held_out_fraction=0.3, holes_per_file=6, processes=1)
MIXED = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC3dE5f"
HEX = "0123456789abcdef" * 4
SECRETS = {
    "aws": "AKIA" + "IOSFODNN7ABCDEFG",
    "pem": "-----BEGIN RSA "
    + "PRIVATE KEY-----\nMIIEowIBAAKC\nq7Zx\n-----END RSA "
    + "PRIVATE KEY-----",
    "jwt": "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4",
    "address": "postgres://app:s3cr-t7Kq9Zz@db.internal/app",
    "connection": "Server=db;User Id=sa;Password=s3cr-t7Kq!Zz;",
    "github": "ghp_" + MIXED[:36],
    "comment": "token: " + MIXED[:24],
    "slack": "xoxb-" + "123456789012-abcdefABCDEF",
}
TELLING = {
    "aws": "IOSFODNN7ABCDEFG",
    "pem": "MIIEowIBAAKC",
    "jwt": "SflKxwRJSMeKKF2QT4",
    "address": "s3cr-t7Kq9Zz",
    "connection": "s3cr-t7Kq!Zz",
    "github": MIXED[:36],
    "comment": MIXED[:24],
    "slack": "123456789012-abcdefABCDEF",
}


def module(seed: int, num_functions: int = 10) -> str:
    head = f'"""Module {seed}."""\n\nimport os\nfrom pkg.shared import gather_{seed % 3}\n\n\n'
    return head + "".join(
        f"def part_{seed}_{n}(left_{seed}, right_{n}):\n"
        f"    if left_{seed} > {seed * 17 + n}:\n"
        f"        return gather_{seed % 3}(left_{seed}, right_{n}, factor={n})\n"
        f"    total_{n} = [item_{seed} * {n} for item_{seed} in right_{n}]\n"
        f"    return os.path.join(total_{n}, 'part_{seed}_{n}')\n\n\n"
        for n in range(num_functions)
    )


def write_package(root: Path, num_files: int = 8) -> Path:
    (root / "pkg").mkdir(parents=True)
    (root / "pkg/__init__.py").write_text("")
    shared = "".join(
        f"def gather_{n}(left, right, factor):\n    combined_{n} = left + right * factor\n"
        f"    return finish_{n}(combined_{n}, left, limit={n})\n\n\n"
        for n in range(3)
    )
    (root / "pkg/shared.py").write_text(shared)
    for n in range(num_files):
        (root / f"pkg/module_{n}.py").write_text(module(n))
    return root


def git(root: Path, *arguments: str) -> str:
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
        "GIT_CONFIG_NOSYSTEM": "1",
        "HOME": str(root),
    }
    options = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", *options, "-C", str(root), *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    ).stdout


def commit_all(root: Path) -> Path:
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def everything_written(out: Path) -> str:
    parts = []
    for path in sorted(out.rglob("*")):
        if path.suffix == ".parquet":
            parts.append(json.dumps(pq.read_table(path).to_pylist(), ensure_ascii=False))
        elif path.is_file():
            parts.append(path.read_text(encoding="utf-8"))
    return "\n".join(parts)


def assert_accounted(built: BuiltCorpus) -> dict[str, int]:
    files = built.manifest["files"]
    assert isinstance(files, dict)
    assert files["seen"] == files["used"] + sum(files["dropped"].values())
    return dict(files["dropped"])


def test_no_secret_of_any_kind_leaves_a_seeded_repository(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_package(tmp_path / "app")
    for number, (name, secret) in enumerate(SECRETS.items(), start=20):
        body = module(number)
        half = body.index("def part", len(body) // 2)
        (root / f"pkg/with_{name}.py").write_text(
            body[:half] + f'# {secret}\nSETTING_{number} = """{secret}"""\n\n\n' + body[half:]
        )
    (root / ".env").write_text("TOKEN=hunter2hunter2\n")
    (root / "deploy.env").write_text("TOKEN=hunter3hunter3\n")
    settings = SETTINGS.model_copy(update={"context_none_share": 0.0})
    built = build_corpus([commit_all(root)], settings=settings, out=tmp_path / "set")
    written = everything_written(built.out) + caplog.text
    for name, telling in TELLING.items():
        assert telling not in written, name
    assert "hunter" not in written
    assert assert_accounted(built)["secret_file"] == 2
    content = built.manifest["content"]
    assert isinstance(content, dict)
    assert content["redacted_files"] == len(SECRETS)
    assert sum(content["redacted_secrets"].values()) >= len(SECRETS)
    rows = (*built.train, *built.held_out)
    assert {row.path for row in rows if "with_" in str(row.path)} != set()
    assert not any("REDACTED" in row.middle for row in rows)
    assert any("REDACTED" in row.prefix + row.suffix for row in rows)


def test_context_is_never_the_middle_and_never_held_out_text(tmp_path: Path) -> None:
    root = write_package(tmp_path / "app", 24)
    settings = SETTINGS.model_copy(update={"context_none_share": 0.0})
    built = build_corpus([root], settings=settings, out=tmp_path / "set")
    held_out_paths = {row.path for row in built.held_out}
    assert any(row.context for row in built.train)
    for row in (*built.train, *built.held_out):
        assert all(item.path != row.path for item in row.context)
        if len(row.middle.strip()) >= 20:
            assert not any(row.middle.strip() in item.text for item in row.context)
    for row in built.train:
        assert not {item.path for item in row.context} & held_out_paths
        for other in built.held_out:
            if len(other.middle.strip()) >= 40:
                assert not any(other.middle.strip() in item.text for item in row.context)
    again = build_corpus([root], settings=settings, out=tmp_path / "again")
    assert [row.context for row in again.train] == [row.context for row in built.train]
    files = {path.relative_to(built.out): path.read_bytes() for path in built.out.rglob("*.*")}
    assert files == {p.relative_to(again.out): p.read_bytes() for p in again.out.rglob("*.*")}


def test_licences_are_recorded_and_denied_ones_dropped(tmp_path: Path) -> None:
    root = write_package(tmp_path / "app")
    (root / "LICENSE").write_text(
        "Permission is hereby granted, free of charge, to any person obtaining a copy"
    )
    (root / "pkg/copyleft.py").write_text("# SPDX-License-Identifier: GPL-3.0-only\n" + module(40))
    settings = SETTINGS.model_copy(update={"denied_licences": ("GPL-*",)})
    built = build_corpus([root], settings=settings, out=tmp_path / "set")
    assert assert_accounted(built)["denied_licence"] == 1
    assert {row.licence for row in (*built.train, *built.held_out)} == {"MIT"}
    columns = pq.read_table(next((built.out / "train").glob("*.parquet"))).column_names
    assert "licence" in columns


def test_giant_files_and_lines_cost_no_crash(tmp_path: Path) -> None:
    root = write_package(tmp_path / "app")
    with (root / "pkg/giant.py").open("wb") as file:
        file.truncate(50_000_000)
    (root / "pkg/one_line.js").write_text("x=" + "ab+" * 700_000 + "1")
    (root / "pkg/broken.py").write_text("}{ )( :: def class ]] [[ " * 200)
    settings = SETTINGS.model_copy(update={"max_file_bytes": 4_000_000})
    built = build_corpus([root], settings=settings, out=tmp_path / "set")
    dropped = assert_accounted(built)
    assert dropped["too_large"] == 1
    assert dropped["long_line"] == 2


def test_text_that_no_grammar_accepts_is_cut_by_lines_and_counted(tmp_path: Path) -> None:
    root = write_package(tmp_path / "app")
    (root / "pkg/broken.py").write_text("}{ name )( value :: def class ]] other [[ \n" * 60)
    built = build_corpus([root], settings=SETTINGS, out=tmp_path / "set")
    assert_accounted(built)
    content = built.manifest["content"]
    assert isinstance(content, dict)
    assert content["parsed_in_part"] == 1
    kinds = {
        row.span_kind for row in (*built.train, *built.held_out) if row.path == "pkg/broken.py"
    }
    assert kinds
    assert not any(str(kind).startswith("syntax") for kind in kinds)


def test_names_with_newlines_and_emoji_and_no_ending(tmp_path: Path) -> None:
    root = write_package(tmp_path / "app")
    names = {"pkg/line\nbreak.py": 50, "pkg/smile \U0001f600.py": 51, "bin/tool": 52}
    (root / "bin").mkdir()
    for name, seed in names.items():
        first = "#!/usr/bin/env python3\n" if name == "bin/tool" else ""
        (root / name).write_text(first + module(seed))
    built = build_corpus([commit_all(root)], settings=SETTINGS, out=tmp_path / "set")
    assert_accounted(built)
    assert set(names) <= {row.path for row in (*built.train, *built.held_out)}


def test_a_bare_repository_is_read_and_one_without_commits_by_its_files(tmp_path: Path) -> None:
    root = commit_all(write_package(tmp_path / "app"))
    git(tmp_path, "clone", "-q", "--bare", str(root), str(tmp_path / "bare.git"))
    bare = build_corpus([tmp_path / "bare.git"], settings=SETTINGS, out=tmp_path / "one")
    assert_accounted(bare)
    assert {row.path for row in bare.train} <= {f"pkg/module_{n}.py" for n in range(8)} | {
        "pkg/shared.py"
    }
    fresh = write_package(tmp_path / "fresh")
    (fresh / ".gitignore").write_text("pkg/module_1.py\n")
    git(fresh, "init", "-q")
    built = build_corpus([fresh], settings=SETTINGS, out=tmp_path / "two")
    assert_accounted(built)
    assert "pkg/module_1.py" not in {row.path for row in (*built.train, *built.held_out)}


def test_a_corrupt_object_is_one_unreadable_file(tmp_path: Path) -> None:
    root = commit_all(write_package(tmp_path / "app"))
    name = git(root, "rev-parse", "HEAD:pkg/module_3.py").strip()
    blob = root / ".git/objects" / name[:2] / name[2:]
    blob.chmod(0o644)
    blob.write_bytes(b"garbage")
    built = build_corpus([root], settings=SETTINGS, out=tmp_path / "set")
    assert assert_accounted(built)["unreadable"] == 1


def test_a_corrupt_tree_is_a_clear_error(tmp_path: Path) -> None:
    root = commit_all(write_package(tmp_path / "app"))
    name = git(root, "rev-parse", "HEAD:pkg").strip()
    tree = root / ".git/objects" / name[:2] / name[2:]
    tree.chmod(0o644)
    tree.write_bytes(b"garbage")
    with pytest.raises(SourceNotFoundError) as caught:
        build_corpus([root], settings=SETTINGS, out=tmp_path / "set")
    assert caught.value.hint
    assert not (tmp_path / "set").exists()


def test_marks_of_gitattributes_are_followed(tmp_path: Path) -> None:
    root = write_package(tmp_path / "app")
    (root / ".gitattributes").write_text(
        "pkg/module_1.py linguist-generated\npkg/module_2.py linguist-vendored\n"
    )
    built = build_corpus([commit_all(root)], settings=SETTINGS, out=tmp_path / "set")
    dropped = assert_accounted(built)
    assert (dropped["generated"], dropped["vendored"]) == (1, 1)


def test_text_that_composes_differently_is_counted(tmp_path: Path) -> None:
    root = write_package(tmp_path / "app")
    (root / "pkg/accents.py").write_text(module(60) + "NAME = 'cafe\u0301'\n")
    built = build_corpus([root], settings=SETTINGS, out=tmp_path / "set")
    content = built.manifest["content"]
    assert isinstance(content, dict)
    assert content["not_nfc"] == 1
