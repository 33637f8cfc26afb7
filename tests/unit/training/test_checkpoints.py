from __future__ import annotations

import os
from pathlib import Path

import pytest

from fim.errors import ResumeMismatchError, RunFolderError
from fim.training import CHECKPOINT_FILE, find_checkpoint
from fim.training.checkpoints import (
    CheckpointRecord,
    CheckpointStore,
    draft_folder,
    installed_versions,
    replace_folder,
)

IDENTITY = {"data": "d", "format": "f", "base": "b", "config": "c"}


def save(store: CheckpointStore, step: int, text: str = "weights") -> Path:
    record = CheckpointRecord(step, 1.5 * step, IDENTITY, {"torch": "2"})
    with store.writing(record) as draft:
        made = draft / f"checkpoint-{step}"
        made.mkdir()
        (made / "weights").write_text(text, encoding="utf-8")
    path = store.folder / f"checkpoint-{step}"
    os.utime(path / CHECKPOINT_FILE, (step, step))
    return path


def test_a_checkpoint_is_published_whole_and_read_back(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "checkpoints", limit=2)
    path = save(store, 3)
    assert CheckpointRecord.read(path) == CheckpointRecord(3, 4.5, IDENTITY, {"torch": "2"})
    assert store.last() == path
    assert {each.name for each in path.iterdir()} == {"weights", CHECKPOINT_FILE}
    assert [each.name for each in store.folder.iterdir()] == ["checkpoint-3"]


def test_the_newest_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, limit=2)
    for step in (1, 2, 3):
        save(store, step)
    assert [path.name for path in store.saved()] == ["checkpoint-2", "checkpoint-3"]


def test_one_of_the_same_step_is_replaced(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, limit=2)
    save(store, 1, "old")
    path = save(store, 1, "new")
    assert (path / "weights").read_text(encoding="utf-8") == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint-1"]


def test_a_failed_write_leaves_the_earlier_ones(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, limit=2)
    save(store, 1)
    with (
        pytest.raises(RunFolderError, match="checkpoint-2"),
        store.writing(CheckpointRecord(2, 0.0, IDENTITY)) as draft,
    ):
        (draft / "missing" / "file").write_text("x", encoding="utf-8")
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint-1"]


def test_drafts_of_a_crash_are_neither_found_nor_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path, limit=2)
    assert store.last() is None
    assert CheckpointStore(tmp_path / "none", limit=2).saved() == []
    (tmp_path / ".draft-checkpoint-7-1" / "checkpoint-7").mkdir(parents=True)
    (tmp_path / "checkpoint-9").mkdir()
    assert store.last() is None
    store.remove_drafts()
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint-9"]


def test_a_checkpoint_is_found_by_run_by_folder_and_by_last(tmp_path: Path) -> None:
    run = tmp_path / "run"
    path = save(CheckpointStore(run / "checkpoints", limit=2), 4)
    assert find_checkpoint("last", run=run) == path
    assert find_checkpoint(run) == path
    assert find_checkpoint(run / "checkpoints") == path
    assert find_checkpoint(str(path)) == path
    with pytest.raises(RunFolderError, match="nothing to resume"):
        find_checkpoint(tmp_path / "other")


def test_differences_are_named_and_settings_may_change(tmp_path: Path) -> None:
    record = CheckpointRecord(1, 0.0, IDENTITY)
    record.refuse_other({**IDENTITY, "config": "other"}, tmp_path)
    with pytest.raises(ResumeMismatchError, match=r"another base and data \(then: base b, data d;"):
        record.refuse_other({**IDENTITY, "data": "x", "base": "y"}, tmp_path)
    with pytest.raises(ResumeMismatchError, match="tokenizer unknown"):
        record.refuse_other({**IDENTITY, "tokenizer": "t"}, tmp_path)


@pytest.mark.parametrize("text", [None, "{", '{"other": 1}'])
def test_a_damaged_record_is_no_checkpoint(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / CHECKPOINT_FILE).write_text(text, encoding="utf-8")
    with pytest.raises(RunFolderError, match="checkpoint"):
        CheckpointRecord.read(tmp_path)


def test_versions_of_what_is_installed() -> None:
    versions = installed_versions()
    assert {"torch", "transformers", "trl", "peft"} <= versions.keys()


def test_folders_are_replaced_by_renames(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    for text in ("first", "second"):
        with draft_folder(target) as draft:
            (draft / "made").mkdir()
            (draft / "made" / "file").write_text(text, encoding="utf-8")
            replace_folder(draft / "made", target)
    assert (target / "file").read_text(encoding="utf-8") == "second"
    assert [each.name for each in tmp_path.iterdir()] == ["adapter"]


def test_no_permission_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with (
        pytest.raises(RunFolderError, match="Cannot write"),
        draft_folder(tmp_path / "file" / "adapter"),
    ):
        pass
