"""Whole builds over files of many kinds: languages, encodings, notebooks, licence headers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fim.cli import data_build
from fim.config import CorpusSettings
from fim.corpus import BuiltCorpus, build_corpus, check_corpus, explain_file

SETTINGS = CorpusSettings(held_out_fraction=0.3, processes=1)
HEADER = "/*\n" + "".join(f" * {' '.join(f'term{n}{k}' for k in range(10))}\n" for n in range(14))
HEADER += " */\n"


def functions(tag: str, number: int = 12) -> str:
    return "\n".join(
        f"def work_{tag}_{n}(value, factor):\n    {tag} = value * factor + {n}\n"
        f"    if {tag} > 100:\n        return {tag} - value\n    return {tag}\n"
        for n in range(number)
    )


def build(root: Path, out: Path, **changes: object) -> BuiltCorpus:
    return build_corpus([root], settings=SETTINGS.model_copy(update=changes), out=out)


def paths(built: BuiltCorpus) -> dict[str | None, str | None]:
    return {row.path: row.language for row in (*built.train, *built.held_out)}


def content(built: BuiltCorpus) -> dict[str, object]:
    found = built.manifest["content"]
    assert isinstance(found, dict)
    return found


def dropped(built: BuiltCorpus) -> dict[str, int]:
    files = built.manifest["files"]
    assert isinstance(files, dict)
    return dict(files["dropped"])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "main.py").write_text(functions("main"))
    (folder / "other.py").write_text(functions("other"))
    return folder


def test_encodings_are_read_and_told(root: Path, tmp_path: Path) -> None:
    latin = "# -*- coding: latin-1 -*-\n# Größe\n" + functions("latin")
    (root / "latin.py").write_bytes(latin.encode("latin-1"))
    (root / "utf16.py").write_bytes(functions("wide").encode("utf-16"))
    (root / "mac.py").write_bytes(functions("mac").replace("\n", "\r").encode())
    (root / "unknown.py").write_bytes(functions("größe").encode("latin-1"))
    cache = tmp_path / "cache"
    for turn in range(2):
        built = build_corpus([root], settings=SETTINGS, out=tmp_path / "set", cache=cache)
        assert {"latin.py", "utf16.py", "mac.py"} <= set(paths(built))
        assert content(built)["transcoded"] == {"latin-1": 1, "utf-16": 1}
        assert content(built)["cr_line_ends"] == 1
        assert dropped(built) == {"not_utf8": 1}
        assert built.num_known["files"] == (6 if turn else 0)
        texts = {r.path: r.prefix + r.middle + r.suffix for r in (*built.train, *built.held_out)}
        assert texts["latin.py"] == latin
        assert texts["mac.py"] == functions("mac")
    assert explain_file([root], Path("unknown.py"), settings=SETTINGS).reason == "not_utf8"


def test_notebooks_are_documents_of_their_language(root: Path, tmp_path: Path) -> None:
    cells = [
        {"cell_type": "code", "source": functions("cell").splitlines(keepends=True)},
        {"cell_type": "markdown", "source": "never trained"},
        {"cell_type": "code", "source": "%pip install x\n", "outputs": [{"text": "shown"}]},
    ]
    (root / "a.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}}))
    (root / "b.ipynb").write_text("{}")
    built = build(root, tmp_path / "set")
    assert paths(built)["a.ipynb"] == "Python"
    rows = [row for row in (*built.train, *built.held_out) if row.path == "a.ipynb"]
    assert {row.prefix + row.middle + row.suffix for row in rows} == {functions("cell")}
    assert dropped(built) == {"not_supported": 1}
    assert built.manifest["endings_left_out"] == {"not_supported": {".ipynb": 1}}


def test_files_left_out_are_counted_by_ending(root: Path, tmp_path: Path) -> None:
    for name in ("a.md", "b.md", "c.svg", "LICENCE", "strings.ts"):
        (root / name).write_text('<?xml version="1.0"?>\n<TS></TS>\n' + "words and words\n" * 30)
    built = build(root, tmp_path / "set")
    assert dropped(built) == {"unknown_language": 4, "not_supported": 1}
    assert built.manifest["endings_left_out"] == {
        "unknown_language": {".md": 2, ".svg": 1, "LICENCE": 1},
        "not_supported": {".ts": 1},
    }


@pytest.mark.parametrize("split", ["group", "path-prefix"])
def test_a_shared_licence_header_makes_no_near_duplicates(
    root: Path, tmp_path: Path, split: str
) -> None:
    (root / "held").mkdir()
    for name, line in (
        ("Price", "net = gross - tax"),
        ("Route", "next = hop"),
        ("Clock", "t += s"),
    ):
        body = f"package a\n\nobject {name} {{\n  fun run{name}() {{\n    {line}\n  }}\n}}\n"
        long = "".join(f"fun {name}{n}(a: Int) = a * {n} + {name}\n" for n in range(30))
        (root / f"{name}.kt").write_text(HEADER + body)
        (root / f"held/{name}Long.kt").write_text(HEADER + body + long)
    held = {"split": split, "held_out_paths": ("held",) if split == "path-prefix" else ()}
    built = build(root, tmp_path / "set", **held)
    assert dropped(built) == {}
    assert built.manifest["near_duplicates"] == []
    assert check_corpus(tmp_path / "set").leaks["near_duplicate_document"] == 0


def test_files_alike_but_for_their_header_are_near_duplicates(root: Path, tmp_path: Path) -> None:
    licence = "".join(f"# term{n} of the {n * 7} licence terms\n" for n in range(200))
    (root / "copy.py").write_text(licence + functions("main"))
    built = build(root, tmp_path / "set")
    assert dropped(built) == {"near_duplicate": 1}


def test_one_unknown_construct_loses_no_file(root: Path, tmp_path: Path) -> None:
    text = (
        "vi.mock('./store', async (original) => {\n"
        "  const mod = await original<typeof import('./store')>()\n"
        "  return { ...mod, load: vi.fn() }\n})\n\n"
    ) + "".join(
        f"describe('store{n}', () => {{\n  it('adds', () => {{\n"
        f"    expect(add({n}, 2)).toBe(sum({n}, 2))\n  }})\n}})\n\n"
        for n in range(60)
    )
    (root / "store.test.ts").write_text(text)
    built = build(root, tmp_path / "set")
    rows = [row for row in (*built.train, *built.held_out) if row.path == "store.test.ts"]
    assert dropped(built) == {}
    assert content(built)["parsed_in_part"] == 1
    assert any(row.span_kind.startswith("syntax") for row in rows)
    assert not any("typeof import" in r.middle for r in rows if r.span_kind.startswith("syntax"))


def test_headers_of_a_cpp_project_are_cpp(root: Path, tmp_path: Path) -> None:
    for number in range(4):
        (root / f"queue{number}.h").write_text(
            "#pragma once\nnamespace pool {\n"
            + "".join(
                f"class Queue{number}{n} final {{\n public:\n  explicit Queue{number}{n}(int a);\n"
                f"  bool push(const Item{n}& item) {{ return items_.add(item, {number}); }}\n}};\n"
                for n in range(8)
            )
            + "}\n"
        )
    built = build(root, tmp_path / "set")
    assert dropped(built) == {}
    assert {paths(built)[f"queue{n}.h"] for n in range(4)} == {"C++"}


def test_people_are_told_and_get_a_hint(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (root / "latin.py").write_bytes(b"# coding: latin-1\n" + functions("größe").encode("latin-1"))
    (root / "unknown.py").write_bytes(functions("größe").encode("latin-1"))
    app = typer.Typer()
    data_build.register(app)
    told = CliRunner().invoke(app, ["build", str(root), "--out", "set", "--dry-run"])
    assert "transcoded: latin-1" in told.output
    answer = CliRunner().invoke(app, ["build", str(root), "--out", "set", "--dry-run", "--json"])
    assert json.loads(answer.stdout)["content"]["transcoded"] == {"latin-1": 1}
    explained = CliRunner().invoke(
        app, ["build", str(root), "--out", "set", "--explain", "unknown.py"]
    )
    assert "not_utf8" in explained.output
    assert "iconv -f latin1 -t utf-8" in explained.output
