"""A place in a file is asked as training shows it: language, path, repository, text and marks."""

from __future__ import annotations

import codecs
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.cli.app import main
from fim.cli.complete import ask, hole_in_file
from fim.config import CorpusSettings, Settings
from fim.corpus import build_corpus
from fim.errors import SourceNotFoundError
from fim.pipeline import make_encoder
from fim.types import FimExample

if TYPE_CHECKING:
    from fim.data import TokenizerView

BUILD = CorpusSettings(held_out_fraction=0.5, holes_per_file=6, leak_ngram_tokens=0)
HEADER = (
    "#pragma once\n\nnamespace part{n} {{\n\nclass Part{n} {{\n public:\n"
    "  int take{n}(int left) {{\n    int total = left * {n};\n    return total + {n};\n  }}\n"
    "  int drop{n}(int right) {{\n    return right - {n};\n  }}\n}};\n\n}}  // namespace\n"
)
SCRIPT = (
    "export interface Box{n} {{ width: number; }}\n\n"
    "export function grow{n}(box: Box{n}, by: number): Box{n} {{\n"
    "  const width = box.width * {n} + by;\n  return {{ ...box, width }};\n}}\n\n"
    "export function shrink{n}(box: Box{n}): number {{\n  return box.width - {n};\n}}\n"
)
MODULE = (
    "import os\n\n\ndef part{n}(left, right):\n    total = left * {n} + right\n"
    "    if total > {n}:\n        return os.path.join(str(left), total)\n    return right\n\n\n"
    "def other{n}(value):\n    return [item * {n} for item in value]\n"
)
ENCODINGS = {
    "plain": lambda text: text.encode(),
    "marked": lambda text: codecs.BOM_UTF8 + text.encode(),
    "returns": lambda text: text.replace("\n", "\r\n").encode(),
    "declared": lambda text: f"# -*- coding: latin-1 -*-\n# caf\xe9\n{text}".encode("latin-1"),
    "wide": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
}
FILES = {
    **{f"src/deep/{kind}{n}.py": MODULE for kind in ENCODINGS for n in range(4)},
    **{f"web/plain{n}.ts": SCRIPT for n in range(4)},
    **{f"include/plain{n}.h": HEADER for n in range(4)},
    **{f"include/marked{n}.h": HEADER for n in range(4, 8)},
}


def git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=n@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def kind_of(path: str) -> str:
    return Path(path).stem.rstrip("0123456789")


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[FimExample, ...]]:
    """Return a repository and its held-out holes, without context."""
    root = tmp_path_factory.mktemp("made") / "my project"
    for number, (path, text) in enumerate(FILES.items()):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        whole = "".join(text.format(n=number * 3 + part + 11) for part in range(3))
        (root / path).write_bytes(ENCODINGS[kind_of(path)](whole))
    git(root, "init", "-q")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "all")
    built = build_corpus([root], settings=BUILD, out=root.parent / "set")
    return root, tuple(replace(row, context=()) for row in built.held_out)


def asked(root: Path, row: FimExample) -> FimExample:
    """Return the hole of a row as ``--file`` finds it in a file that lacks the middle."""
    file = root / str(row.path)
    was = file.read_bytes()
    bom = next(
        (mark for mark in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE) if was.startswith(mark)), b""
    )
    encoding = {b"": "utf-8", codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le"}[bom]
    encoding = "latin-1" if kind_of(str(row.path)) == "declared" else encoding
    before = row.prefix.split("\n")
    file.write_bytes(bom + (row.prefix + row.suffix).encode(encoding))
    try:
        return hole_in_file(file, len(before), len(before[-1]) + 1)
    finally:
        file.write_bytes(was)


def test_a_hole_in_a_file_is_the_row_that_training_makes_of_it(
    held_out: tuple[Path, tuple[FimExample, ...]],
) -> None:
    root, rows = held_out
    seen = {(kind_of(str(row.path)), row.language) for row in rows}
    assert {"C++", "Python", "TypeScript"} <= {language for _, language in seen}
    assert {kind for kind, _ in seen} == set(ENCODINGS)
    for row in rows:
        if kind_of(str(row.path)) == "declared" and "coding" not in row.prefix:
            continue
        hole = asked(root, row)
        assert (hole.prefix, hole.suffix) == (row.prefix, row.suffix)
        assert (hole.language, hole.path, hole.repo) == (row.language, row.path, "my project")
        assert row.repo == "my project"


@pytest.mark.parametrize("name", ["chatml", "psm", "spm", "repo"])
def test_prompts_have_the_ids_of_the_evaluation(
    name: str, held_out: tuple[Path, tuple[FimExample, ...]], qwen3_view: TokenizerView
) -> None:
    root, rows = held_out
    settings = Settings.model_validate({"data": {"format": name}})
    encoder = make_encoder(settings, qwen3_view)
    bare = 0
    for row in rows[:: max(1, len(rows) // 24)]:
        if kind_of(str(row.path)) == "declared" and "coding" not in row.prefix:
            continue
        ids = encoder.prompt(row).ids
        assert encoder.prompt(asked(root, row)).ids == ids
        bare += encoder.prompt(replace(row, path=Path(str(row.path)).name, language="")).ids != ids
    assert bare or name in {"psm", "spm"}


def test_answers_are_those_of_the_evaluation(
    held_out: tuple[Path, tuple[FimExample, ...]],
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    from fim.config import load_settings
    from fim.pipeline import make_completer

    monkeypatch.chdir(tmp_path)
    root, rows = held_out
    values = {"model.name": str(tiny_model), "infer.max_new_tokens": 6}
    resolved = load_settings(overrides=values, preset="cpu")
    completer = make_completer(resolved, is_base_alone=True)
    chosen = [row for row in rows if kind_of(str(row.path)) != "declared"][::5][:12]
    answers = [answer.text for answer in completer.complete_batch(chosen, batch_size=1)]
    assert [ask(completer, asked(root, row)).result().text for row in chosen] == answers
    row = chosen[0]
    file = tmp_path / "my project" / str(row.path)
    file.parent.mkdir(parents=True)
    git(tmp_path / "my project", "init", "-q")
    file.write_bytes((row.prefix + row.suffix).encode())
    before = row.prefix.split("\n")
    words = ["complete", "--preset", "cpu", "--set", "infer.max_new_tokens=6", "--model"]
    place = ["--line", str(len(before)), "--column", str(len(before[-1]) + 1)]
    with pytest.raises(SystemExit) as done:
        main([*words, str(tiny_model), "--file", str(file), *place])
    assert done.value.code == 0
    assert capfdbinary.readouterr().out == answers[0].encode()


@pytest.mark.parametrize(
    ("file", "here", "path", "repo"),
    [
        ("work/tool/src/a.py", "work", "tool/src/a.py", "work"),
        ("work/tool/src/a.py", "work/tool/src", "a.py", "src"),
        ("work/tool/src/a.py", "elsewhere", "a.py", "src"),
        ("clone/src/a.py", "clone/src", "src/a.py", "clone"),
        ("clone/lib/inner/src/a.py", "clone", "src/a.py", "inner"),
        ("linked/a.py", "elsewhere", "src/a.py", "clone"),
    ],
)
def test_a_path_counts_from_the_repository_else_the_working_folder_else_the_file(
    file: str, here: str, path: str, repo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("work/tool/src", "elsewhere", "clone/src", "clone/.git", "clone/lib/inner/src"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "clone/lib/inner/.git").write_text("gitdir: elsewhere\n")
    (tmp_path / "linked").symlink_to(tmp_path / "clone/src")
    (tmp_path / file).write_text("x = 1\n")
    monkeypatch.chdir(tmp_path / here)
    hole = hole_in_file(tmp_path / file, 1, 5)
    assert (hole.path, hole.repo, hole.prefix) == (path, repo, "x = ")


def test_a_file_in_no_known_language_has_none(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("one\ntwo\n")
    hole = hole_in_file(tmp_path / "notes.txt", 2, 2)
    assert (hole.language, hole.prefix, hole.suffix) == ("", "one\nt", "wo\n")


def test_a_mark_is_no_character_and_returns_alone_end_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(codecs.BOM_UTF8 + b"ab")
    assert hole_in_file(file, 1, 2).prefix == "a"
    file.write_bytes(b"ab\rcd\r")
    assert hole_in_file(file, 2, 2).prefix == "ab\nc"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"caf\xe9", "is not UTF-8 (byte 3)"),
        (b"\x89PNG\r\n\0\0\0ab\xff", "is no text"),
        (b"# coding: utf-8\ncaf\xe9", "is not in the encoding that it declares"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    ],
)
def test_a_file_without_text_is_refused(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(content)
    with pytest.raises(SourceNotFoundError) as refused:
        hole_in_file(tmp_path / "a.py", 1, 1)
    assert told in refused.value.message
    assert refused.value.hint
