from __future__ import annotations

import errno
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fim.errors import NoFinishedRunError, RunFolderError
from fim.runs import (
    RunFolder,
    RunState,
    RunStatus,
    collect_environment,
    environment,
    find_latest_finished,
    find_run,
    folder,
    list_runs,
    new_run_id,
    writing,
)
from fim.runs.writing import refusing

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)


def make(root: Path, name: str, *, finished_at: int = 0) -> RunFolder:
    run = RunFolder.create(root, "m", name)
    if finished_at:
        run.adapter.mkdir()
        (run.adapter / "adapter_config.json").write_text("{}")
        run.set_status(RunState.DONE)
        os.utime(run.status_file, (finished_at, finished_at))
    return run


@pytest.mark.parametrize(
    ("model", "slug"),
    [
        ("embedded/SmolLM2-135M-Instruct", "smollm2-135m"),
        ("unsloth/Qwen3-8B-bnb-4bit", "qwen3-8b"),
        ("Qwen/Qwen2.5-Coder-1.5B", "qwen2.5-coder-1.5b"),
        ("/somewhere/My Model/", "my-model"),
        ("x" * 60, "x" * 24),
        ("///", "model"),
        ("öä", "model"),
    ],
)
def test_run_id_tells_time_and_model(model: str, slug: str) -> None:
    assert new_run_id(model, now=NOW, tag="3f9a") == f"20261122-1430-{slug}-3f9a"


def test_create_uses_clock_and_tag_and_links_latest(tmp_path: Path) -> None:
    run = RunFolder.create(
        tmp_path / "runs",
        "embedded/SmolLM2-135M-Instruct",
        clock=lambda: NOW,
        tag=lambda: "3f9a",
    )
    assert run.id == "20261122-1430-smollm2-135m-3f9a"
    assert run.status == RunStatus(RunState.RUNNING)
    link = tmp_path / "runs" / "latest"
    assert link.readlink() == Path(run.id)
    assert RunFolder.open(link).path == run.path.resolve()


def test_create_takes_another_tag_when_the_name_is_taken(tmp_path: Path) -> None:
    tags = iter(["aaaa", "aaaa", "bbbb"])
    first, second = (
        RunFolder.create(tmp_path, "m", clock=lambda: NOW, tag=lambda: next(tags)) for _ in range(2)
    )
    assert (first.id[-4:], second.id[-4:]) == ("aaaa", "bbbb")
    assert (tmp_path / "latest").readlink() == Path(second.id)


def test_create_gives_up_when_every_name_is_taken(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "m", clock=lambda: NOW, tag=lambda: "aaaa")
    with pytest.raises(RunFolderError, match="holds a run already"):
        RunFolder.create(tmp_path, "m", clock=lambda: NOW, tag=lambda: "aaaa")


def test_default_clock_and_tag() -> None:
    assert folder.local_now().tzinfo is not None
    assert len(folder.random_tag()) == 4


def test_paths_are_those_of_the_design(tmp_path: Path) -> None:
    run = RunFolder.create_at(tmp_path / "out")
    names = {
        run.config: "config.json",
        run.sources: "sources.json",
        run.environment: "environment.json",
        run.data_manifest: "data_manifest.json",
        run.summary: "summary.json",
        run.metrics: "metrics.jsonl",
        run.samples: "samples.jsonl",
        run.log: "train.log",
        run.plots: "plots",
        run.checkpoints: "checkpoints",
        run.adapter: "adapter",
        run.eval: "eval",
        run.comparison: "eval/comparison.json",
        run.card: "README.md",
        run.report: "report.html",
        run.status_file: "STATUS",
    }
    assert {path: run.path / name for path, name in names.items()} == {path: path for path in names}


def test_create_at_refuses_a_folder_with_a_run_and_takes_any_other(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("mine")
    RunFolder.create_at(tmp_path)
    assert not (tmp_path.parent / "latest").exists()
    with pytest.raises(RunFolderError, match="holds a run already") as caught:
        RunFolder.create_at(tmp_path)
    assert "--resume" in caught.value.hint
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(("make_dir", "what"), [(True, "holds no run"), (False, "does not exist")])
def test_open_refuses_what_is_no_run(tmp_path: Path, make_dir: bool, what: str) -> None:
    path = tmp_path / "x"
    if make_dir:
        path.mkdir()
    with pytest.raises(RunFolderError, match=what) as caught:
        RunFolder.open(path)
    assert "fim runs list" in caught.value.hint


@pytest.mark.parametrize(
    ("state", "reason", "line"),
    [
        ("done", "", "done\n"),
        (RunState.FAILED, "loss is nan\nat step 3", "failed: loss is nan at step 3\n"),
        ("interrupted", "Ctrl-C: by the user", "interrupted: Ctrl-C: by the user\n"),
    ],
)
def test_status_round_trip(tmp_path: Path, state: str, reason: str, line: str) -> None:
    run = RunFolder.create_at(tmp_path)
    run.set_status(state, reason)
    assert run.status_file.read_text() == line
    assert run.status == RunStatus(RunState(state), " ".join(reason.split()))


def test_unknown_state_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sleeping"):
        RunFolder.create_at(tmp_path).set_status("sleeping")


def test_damaged_or_missing_status_is_unknown(tmp_path: Path) -> None:
    run = RunFolder.create_at(tmp_path)
    run.status_file.write_bytes(b"\xff\xfe\x00")
    assert run.status.state is RunState.UNKNOWN
    run.status_file.unlink()
    assert run.status == RunStatus(RunState.UNKNOWN)


def test_write_json_is_readable_and_has_no_nan(tmp_path: Path) -> None:
    run = RunFolder.create_at(tmp_path)
    data = {"loss": float("nan"), "list": (1, float("inf")), "path": Path("a/b"), "text": "ü", 3: 1}
    written = run.write_json("deep/facts.json", data)
    assert json.loads(written.read_text(encoding="utf-8")) == {
        "loss": None,
        "list": [1, None],
        "path": "a/b",
        "text": "ü",
        "3": 1,
    }
    assert written.stat().st_mode & 0o777 == 0o644


def test_write_text_keeps_line_ends_and_absolute_paths(tmp_path: Path) -> None:
    run = RunFolder.create_at(tmp_path)
    assert run.write_text(run.card, "a\r\nb\n").read_bytes() == b"a\r\nb\n"


def test_write_jsonl(tmp_path: Path) -> None:
    run = RunFolder.create_at(tmp_path)
    path = run.write_jsonl("eval/base.samples.jsonl", [{"item": "1"}, {"item": "ü\u2028"}])
    assert writing.read_jsonl(path) == [{"item": "1"}, {"item": "ü\u2028"}]


def test_metrics_survive_a_torn_line(tmp_path: Path) -> None:
    run = RunFolder.create_at(tmp_path)
    run.append_metrics({"step": 1, "loss": 2.0})
    with run.metrics.open("a") as stream:
        stream.write('{"step": 2, "lo')
    run.append_metrics({"step": 3, "loss": float("nan")})
    assert run.read_metrics() == [{"step": 1, "loss": 2.0}, {"step": 3, "loss": None}]
    run.append_sample({"item": "a"})
    assert writing.read_jsonl(run.samples) == [{"item": "a"}]


def test_jsonl_that_is_missing_or_holds_no_objects(tmp_path: Path) -> None:
    assert writing.read_jsonl(tmp_path / "none.jsonl") == []
    (tmp_path / "x.jsonl").write_text("3\n\n[]\n")
    assert writing.read_jsonl(tmp_path / "x.jsonl") == []


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(RunFolderError, match="Cannot make") as caught:
        RunFolder.create(tmp_path / "runs", "m", "one")
    assert "--out DIR" in caught.value.hint
    assert "file stands where a folder is needed" in caught.value.hint


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EACCES, "write permission"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "can be written"),
    ],
)
def test_a_refusing_disk_is_told_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, hint: str
) -> None:
    run = RunFolder.create_at(tmp_path)
    run.write_json("config.json", {"a": 1})

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(RunFolderError, match=os.strerror(code)) as caught:
        run.write_json("config.json", {"a": 2})
    assert hint in caught.value.hint
    assert json.loads(run.config.read_text()) == {"a": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["STATUS", "config.json"]


def test_metrics_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder.create_at(tmp_path)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(RunFolderError, match="No space left"):
        run.append_metrics({"step": 1})


def test_latest_gives_way_where_links_are_impossible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "links are not for this disk")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    with caplog.at_level("WARNING", logger="fim"):
        run = RunFolder.create(tmp_path, "m", "one")
    assert run.status.state is RunState.RUNNING
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one"]


def test_listing_is_newest_first_and_survives_damage(tmp_path: Path) -> None:
    old = make(tmp_path, "old", finished_at=1_000)
    new = make(tmp_path, "new", finished_at=2_000)
    new.write_json(new.comparison, {"metrics": {"exact_match": {"base": 0.1, "tuned": 0.2}}})
    old.append_metrics({"step": 1, "loss": 2.0, "note": "x"})
    old.append_metrics({"step": 2, "loss": 1.5, "eval_loss": 1.7})
    old.comparison.parent.mkdir()
    old.comparison.write_text("{torn")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "metrics.jsonl").write_text("{torn")
    (tmp_path / "no-run").mkdir()
    (tmp_path / "file.txt").write_text("x")
    summaries = list_runs(tmp_path)
    assert [item.id for item in summaries] == ["new", "old", "damaged"]
    assert [item.state for item in summaries] == ["done", "done", "unknown"]
    assert summaries[1].metrics == {"step": 2, "loss": 1.5, "eval_loss": 1.7}
    assert summaries[2].metrics == {}
    assert summaries[0].as_json() == {
        "id": "new",
        "status": "done",
        "reason": "",
        "path": str(new.path),
        "metrics": {"exact_match": {"base": 0.1, "tuned": 0.2}},
    }


def test_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "none") == ()
    with pytest.raises(NoFinishedRunError, match="none at all") as caught:
        find_latest_finished(tmp_path / "none")
    assert "fim quickstart" in caught.value.hint
    assert caught.value.exit_code == 4


def test_latest_finished_skips_unfinished_and_adapterless_runs(tmp_path: Path) -> None:
    done = make(tmp_path, "done", finished_at=1_000)
    make(tmp_path, "older", finished_at=500)
    make(tmp_path, "running")
    make(tmp_path, "bare").set_status("done")
    assert find_latest_finished(tmp_path).path == done.path
    done.set_status("failed", "x")
    (tmp_path / "older" / "adapter" / "adapter_config.json").unlink()
    with pytest.raises(NoFinishedRunError, match="4 unfinished"):
        find_latest_finished(tmp_path)


def test_find_run_by_name_start_link_and_folder(tmp_path: Path) -> None:
    one = make(tmp_path, "20261122-1430-a")
    two = make(tmp_path, "20261122-1431-b")
    assert find_run(tmp_path, "20261122-1430").path == one.path
    assert find_run(tmp_path, "latest").path == two.path.resolve()
    assert find_run(tmp_path / "elsewhere", str(one.path)).path == one.path.resolve()
    with pytest.raises(RunFolderError, match="More than one run"):
        find_run(tmp_path, "2026")
    with pytest.raises(RunFolderError, match="No run"):
        find_run(tmp_path, "x")


def test_environment_tells_versions_and_no_names(tmp_path: Path) -> None:
    facts = collect_environment({"accelerator": {"name": "none"}})
    packages = facts["packages"]
    assert isinstance(packages, dict)
    assert packages["unsloth"] is None or isinstance(packages["unsloth"], str)
    assert facts["accelerator"] == {"name": "none"}
    assert isinstance(facts["cores"], int)
    told = json.dumps(facts)
    assert os.uname().nodename not in told
    assert str(Path.home()) not in told or Path.home() == Path("/")


def test_environment_without_a_processor_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise ValueError

    monkeypatch.setattr(os, "sysconf", refuse)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(environment, "_PACKAGES", ("no-such-package",))
    facts = collect_environment(cpu_file=tmp_path / "none")
    assert facts["memory_mib"] is None
    assert facts["packages"] == {"no-such-package": None}
    (tmp_path / "cpu").write_text("flags : x\nmodel name\t: Fast CPU\n")
    assert collect_environment(cpu_file=tmp_path / "cpu")["processor"] == "Fast CPU"


def test_shown_path_is_what_people_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = RunFolder.create_at(tmp_path / "runs" / "one")
    assert run.shown_path == "runs/one"
    monkeypatch.chdir(tmp_path / "runs" / "one")
    assert RunFolder.create_at(tmp_path / "other").shown_path == str(tmp_path / "other")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            RuntimeError("Error while serializing: I/O error: no room (os error 28)"),
            "No space left",
        ),
        (RuntimeError("a bug"), "a bug"),
    ],
)
def test_a_full_disk_that_a_library_hides_is_told(
    error: Exception, told: str, tmp_path: Path
) -> None:
    with (
        pytest.raises(RuntimeError if told == "a bug" else RunFolderError, match=told),
        refusing(tmp_path / "weights", "write"),
    ):
        raise error


def test_a_library_that_fails_where_nothing_can_be_written_is_told_so() -> None:
    with (
        pytest.raises(RunFolderError, match="Cannot write /proc/here/weights"),
        refusing(Path("/proc/here/weights"), "write"),
    ):
        raise RuntimeError("unexpected pos")
