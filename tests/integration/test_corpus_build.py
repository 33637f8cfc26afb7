"""Whole builds: adversarial trees, accounting, determinism, leaks, refusals."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fim.config import CorpusSettings
from fim.corpus import DocumentReader, build_corpus, read_texts
from fim.corpus import manifest as manifest_module
from fim.corpus.reasons import DropReason
from fim.errors import EmptyDatasetError, OutputError, SourceNotFoundError
from fim.types import FimExample

SETTINGS = CorpusSettings(held_out_fraction=0.3, holes_per_file=6)
COLUMNS = {
    "id",
    "document_id",
    "repo",
    "path",
    "language",
    "prefix",
    "middle",
    "suffix",
    "context",
    "span_kind",
    "split",
}
SECRET = "AKIA" + "IOSFODNN7ABCDEFG"


class RecordingProgress:
    def __init__(self) -> None:
        self.stages: list[str] = []
        self.open = 0

    def start(self, stage: str, total: int | None) -> None:
        self.stages.append(f"{stage}/{total}")
        self.open += 1

    def advance(self, done: int, **facts: float | str) -> None:
        assert done > 0

    def finish(self, summary: str = "") -> None:
        self.open -= 1


def module(seed: int, num_functions: int = 12) -> str:
    parts = [f'"""Module {seed}."""\n\nimport os\n\n\n']
    for n in range(num_functions):
        name = f"part_{seed}_{n}"
        parts.append(
            f"def {name}(left_{seed}, right_{n}):\n"
            f"    if left_{seed} > {seed * 17 + n}:\n"
            f"        return combine_{seed}(left_{seed}, right_{n}, factor={n})\n"
            f"    total_{n} = [item_{seed} * {n} for item_{seed} in right_{n}]\n"
            f"    return os.path.join(total_{n}, '{name}')\n\n\n"
        )
    return "".join(parts)


def write_tree(root: Path, num_files: int = 24) -> Path:
    for n in range(num_files):
        path = root / f"pkg_{n % 3}" / f"module_{n}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(module(n))
    return root


def write_adversarial_tree(root: Path) -> dict[str, str]:
    good = module(900)
    contents: dict[str, bytes] = {
        "nul.py": good.encode() + b"\0",
        "broken_utf8.py": good.encode() + b"\xff\xfe",
        "token.py": (good + "x = '<|fim_middle|>'\n").encode(),
        "secret.py": (good + f"key = '{SECRET}'\n").encode(),
        "config/.env": b"PASSWORD=hunter2hunter2\n",
        "one_line.py": b"x = '" + b"a b " * 500_000 + b"'\n",
        "long_line.py": (good + f"y = '{'z' * 2000}'\n").encode(),
        "huge.py": (good * 200).encode(),
        "empty.py": b"",
        "copy.py": module(1).replace("\n", "\r\n").encode(),
        "lfs.py": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "generated_pb2.py": good.encode(),
        "node_modules/x/index.js": good.encode(),
        "notes.md": b"# notes\n",
        "skipped/by_pattern.py": good.encode(),
        "ignored_by_file.py": good.encode(),
        ".fimignore": b"ignored_by_file.py\n",
    }
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / "loop").symlink_to(root)
    (root / "link.py").symlink_to("/etc/hostname")
    os.mkfifo(root / "pipe.py")
    with_odd_text = {
        "crlf.py": module(901).replace("\n", "\r\n").encode(),
        "bom.py": b"\xef\xbb\xbf" + module(902).encode(),
        "emoji \U0001f600 name.py": module(903).replace("item", "é漢\U0001f600").encode(),
        "line\nbreak.py": module(904).encode(),
        "nested.py": (
            module(905) + "x = " + ("(ab +" * 18 + "\n") * 560 + "1" + (")" * 18 + "\n") * 560
        ).encode(),
    }
    for name, content in with_odd_text.items():
        (root / name).write_bytes(content)
    return {name: content.decode("utf-8-sig") for name, content in with_odd_text.items()}


def rows(out: Path, split: str) -> list[dict[str, object]]:
    return [row for path in sorted((out / split).glob("*.parquet")) for row in _read(path)]


def _read(path: Path) -> list[dict[str, object]]:
    return list(pq.read_table(path).to_pylist())


def files_of(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def document_text(example: FimExample) -> str:
    return example.prefix + example.middle + example.suffix


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("source") / "project")


def test_rows_join_to_the_files_and_carry_all_columns(tree: Path, tmp_path: Path) -> None:
    progress = RecordingProgress()
    built = build_corpus([tree], settings=SETTINGS, out=tmp_path / "set", progress=progress)
    assert built.train
    assert built.held_out
    for example in (*built.train, *built.held_out):
        assert example.path is not None
        assert document_text(example) == (tree / example.path).read_text()
        assert example.repo == "project"
        assert example.language == "Python"
    for split, examples in (("train", built.train), ("held_out", built.held_out)):
        stored = rows(built.out, split)
        assert [row["id"] for row in stored] == [example.id for example in examples]
        assert all(set(row) >= COLUMNS for row in stored)
        assert {row["split"] for row in stored} == {split}
        assert [len(row["context"]) for row in stored] == [len(e.context) for e in examples]
        assert any(row["context"] for row in stored)
    assert progress.open == 0
    assert len(progress.stages) == 6


def test_document_ids_and_paths_stand_on_one_side(tree: Path, tmp_path: Path) -> None:
    built = build_corpus([tree], settings=SETTINGS, out=tmp_path / "set")
    sides = [{example.document_id for example in part} for part in (built.train, built.held_out)]
    assert not sides[0] & sides[1]
    by_path = {(row.path, row.document_id) for row in built.train}
    assert len(by_path) == len({path for path, _ in by_path})
    assert len({row.id for row in (*built.train, *built.held_out)}) == len(built.train) + len(
        built.held_out
    )


def test_every_adversarial_file_is_accounted_for(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", 6)
    odd = write_adversarial_tree(root)
    built = build_corpus([root], settings=SETTINGS, out=tmp_path / "set", exclude=["skipped/"])
    files = built.manifest["files"]
    assert isinstance(files, dict)
    listed = [p for p in root.rglob("*") if p.is_symlink() or not p.is_dir()]
    listed = [p for p in listed if "loop" not in p.relative_to(root).parts[:-1]]
    assert files["seen"] == len(listed)
    assert files["seen"] == files["used"] + sum(files["dropped"].values())
    assert files["used"] == 6 + len(odd) + 1
    assert files["dropped"] == {
        "binary": 1,
        "control_tokens": 1,
        "exact_duplicate": 1,
        "excluded": 2,
        "generated": 1,
        "lfs_pointer": 1,
        "long_line": 1,
        "not_a_file": 1,
        "not_utf8": 1,
        "secret_file": 1,
        "symlink": 2,
        "too_large": 2,
        "too_short": 1,
        "unknown_language": 2,
        "vendored": 1,
    }
    examples = {e.path: document_text(e) for e in (*built.train, *built.held_out)}
    assert {name: examples[name] for name in odd} == odd


def test_no_secret_in_any_output(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", 6)
    write_adversarial_tree(root)
    built = build_corpus([root], settings=SETTINGS, out=tmp_path / "set")
    outputs = json.dumps(rows(built.out, "train") + rows(built.out, "held_out"))
    outputs += (built.out / "manifest.json").read_text()
    assert SECRET not in outputs
    assert "hunter2" not in outputs
    assert str(tmp_path) not in (built.out / "manifest.json").read_text()


def test_two_builds_give_the_same_bytes(tree: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        build_corpus([tree], settings=SETTINGS, out=tmp_path / name)
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")
    build_corpus([tree], settings=SETTINGS, out=tmp_path / "two")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_a_set_inside_its_own_root_rebuilds_the_same(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", 6)
    first = build_corpus([root], settings=SETTINGS, out=root / "set")
    before = files_of(root / "set")
    build_corpus([root], settings=SETTINGS, out=root / "set")
    assert files_of(root / "set") == before
    assert first.train


def test_another_file_does_not_move_the_holes(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "tree", 8)
    before = build_corpus([root], settings=SETTINGS, out=tmp_path / "one")
    (root / "zz_new.py").write_text(module(500))
    after = build_corpus([root], settings=SETTINGS, out=tmp_path / "two")
    known = {(e.id, e.split) for e in (*before.train, *before.held_out)}
    now = {(e.id, e.split) for e in (*after.train, *after.held_out) if e.path != "zz_new.py"}
    assert known == now


def test_no_long_held_out_middle_stands_in_training_text(tmp_path: Path) -> None:
    shared = "".join(
        f"SHARED_CONSTANT_{n} = configure_everything(option_{n}, default={n})\n" for n in range(60)
    )
    root = tmp_path / "tree"
    root.mkdir()
    for n in range(20):
        (root / f"m{n}.py").write_text(module(n, 30) + shared)
    built = build_corpus([root], settings=SETTINGS, out=tmp_path / "set")
    holes = built.manifest["holes"]
    assert isinstance(holes, dict)
    assert holes["dropped"]["middle_in_training_text"] > 0
    assert holes["seen"] == holes["used"] + sum(holes["dropped"].values())
    texts = {document_text(example) for example in built.train}
    for example in built.held_out:
        if len(example.middle) >= 40:
            assert not any(example.middle in text for text in texts)


def test_the_first_of_near_duplicates_stays_and_the_others_are_counted(tmp_path: Path) -> None:
    roots = (tmp_path / "tree", tmp_path / "other")
    for root in roots:
        root.mkdir()
    for n in range(12):
        (roots[0] / f"original_{n}.py").write_text(module(n, 40))
        root = roots[n % 2]
        (root / f"variant_{n}.py").write_text(module(n, 40) + f"EXTRA = {n}\n")
    built = build_corpus(roots, settings=SETTINGS, out=tmp_path / "set")
    files = built.manifest["files"]
    assert isinstance(files, dict)
    assert (files["seen"], files["used"], files["dropped"]) == (24, 12, {"near_duplicate": 12})
    paths = {example.path for example in (*built.train, *built.held_out)}
    assert paths == {f"original_{n}.py" for n in range(12)}
    groups = built.manifest["near_duplicates"]
    assert isinstance(groups, list)
    assert [len(group["files"]) for group in groups] == [2] * 12


def test_sub_samples_are_bounded_spread_and_repeatable(tree: Path, tmp_path: Path) -> None:
    options = {"max_train_holes": 10, "max_held_out_holes": 3}
    one = build_corpus([tree], settings=SETTINGS, out=tmp_path / "one", **options)
    two = build_corpus([tree], settings=SETTINGS, out=tmp_path / "two", **options)
    assert (len(one.train), len(one.held_out)) == (10, 3)
    assert len({example.document_id for example in one.train}) == 10
    assert one.train == two.train
    holes = one.manifest["holes"]
    assert isinstance(holes, dict)
    assert holes["used"] == 13
    assert holes["dropped"]["sampled_out"] > 0


def test_two_roots_of_one_name_are_told_apart(tmp_path: Path) -> None:
    roots = [write_tree(tmp_path / side / "app", 4) for side in ("a", "b")]
    for path in roots[1].rglob("*.py"):
        path.write_text(path.read_text().replace("part_", f"other_{path.stem}_"))
    built = build_corpus(roots, settings=SETTINGS, out=tmp_path / "set")
    assert {example.repo for example in (*built.train, *built.held_out)} == {"app", "app-2"}


def test_a_limit_on_files_is_counted(tree: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"max_files": 5})
    built = build_corpus([tree], settings=settings, out=tmp_path / "set")
    files = built.manifest["files"]
    assert isinstance(files, dict)
    assert files["used"] == 5
    assert files["dropped"] == {"over_max_files": 19}


def test_texts_can_be_read_without_building(tree: Path) -> None:
    texts = dict(read_texts([tree], settings=SETTINGS, exclude=["pkg_1/"]))
    assert len(texts) == 16
    assert texts["project/pkg_0/module_0.py"] == module(0)


def test_an_unreadable_file_is_one_counted_drop(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = os.open

    def refuse(path: object, flags: int, *arguments: int) -> int:
        if str(path).endswith("module_3.py"):
            raise PermissionError(13, "Permission denied")
        return real_open(path, flags, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    reader = DocumentReader(SETTINGS)
    assert len(list(reader.read([tree]))) == 23
    assert dict(reader.tally.dropped) == {DropReason.UNREADABLE: 1}


def test_an_empty_folder_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(EmptyDatasetError, match="no file there") as caught:
        build_corpus([tmp_path / "empty"], settings=SETTINGS, out=tmp_path / "set")
    assert caught.value.hint
    assert caught.value.exit_code == 3
    assert not (tmp_path / "set").exists()


def test_a_folder_without_code_says_what_was_dropped(tmp_path: Path) -> None:
    root = tmp_path / "docs"
    root.mkdir()
    (root / "a.md").write_text("text")
    with pytest.raises(EmptyDatasetError, match="1 unknown_language"):
        build_corpus([root], settings=SETTINGS, out=tmp_path / "set")


def test_a_missing_root_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFoundError, match="does not exist"):
        build_corpus([tmp_path / "none"], settings=SETTINGS, out=tmp_path / "set")


@pytest.mark.parametrize("as_file", [True, False])
def test_foreign_content_is_never_replaced(tree: Path, tmp_path: Path, as_file: bool) -> None:
    out = tmp_path / "mine"
    if as_file:
        out.write_text("precious")
    else:
        out.mkdir()
        (out / "precious.txt").write_text("precious")
    with pytest.raises(OutputError, match="would be lost"):
        build_corpus([tree], settings=SETTINGS, out=out)
    assert (out if as_file else out / "precious.txt").read_text() == "precious"


def test_a_failed_write_leaves_the_earlier_set_and_nothing_else(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    build_corpus([tree], settings=SETTINGS, out=out)
    before = files_of(out)

    def full_disk(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(manifest_module, "table_of", full_disk)
    with pytest.raises(OutputError, match="No space left"):
        build_corpus([tree], settings=SETTINGS, out=out)
    assert files_of(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


def test_an_interrupted_exchange_restores_the_earlier_set(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    build_corpus([tree], settings=SETTINGS, out=out)
    before = files_of(out)
    replace = Path.replace

    def stop(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        build_corpus([tree], settings=SETTINGS, out=out)
    assert files_of(out) == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
