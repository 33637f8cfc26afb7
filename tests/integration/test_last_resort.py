"""What is left when all else fails: closed, full or broken streams, a full disk, a bug."""

from __future__ import annotations

import errno
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline_toys import environment, write_rows

FIM = "import sys; from fim.cli.app import main; main(sys.argv[1:])"
BROKEN = (
    "import fim.cli.config_commands as commands\n"
    "def broken(session): raise {error}\n"
    "commands.check = broken\n" + FIM
)
COMPLETE = "complete --preset cpu --set infer.max_new_tokens=4 --prefix x --model MODEL"
ANSWERS = ("formats list", "formats list --json", "nowhere --json", "--help")


def run(
    arguments: Sequence[str],
    *,
    redirected: str = "",
    code: str = FIM,
    cwd: Path | None = None,
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """Run a command line with the redirections of a shell."""
    words = shlex.join([sys.executable, "-c", code, *arguments])
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {words} {redirected}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=cwd,
        env={**os.environ, **env},
    )


def is_one_sentence(told: str) -> bool:
    """Tell whether a failure is one line and its hint."""
    lines = told.splitlines()
    heads = [line.partition(":")[0] for line in lines]
    return heads in (["error"], ["error", "hint"])


@pytest.mark.parametrize("arguments", ANSWERS)
def test_a_full_disk_behind_standard_output_is_one_sentence(arguments: str) -> None:
    done = run(arguments.split(), redirected=">/dev/full")
    assert done.returncode == (2 if "nowhere" in arguments else 7)
    assert is_one_sentence(done.stderr)
    assert ("No space left on device" in done.stderr) == (done.returncode == 7)


def test_with_both_streams_full_the_exit_code_is_left() -> None:
    for arguments, code in (("formats list", 7), ("nowhere", 2)):
        done = run([*arguments.split()], redirected=">/dev/full 2>/dev/full")
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")


def test_talk_that_cannot_be_written_costs_no_answer() -> None:
    done = run(["config", "explain", "train.seed", "--json"], redirected="2>/dev/full")
    assert (done.returncode, json.loads(done.stdout)["key"]) == (0, "train.seed")


@pytest.mark.parametrize("arguments", ANSWERS)
def test_a_reader_that_went_away_is_no_failure_to_tell(arguments: str) -> None:
    done = run(arguments.split(), redirected="| true")
    assert (done.returncode, done.stdout, done.stderr) == (141, "", "")


@pytest.mark.slow
def test_a_stream_into_a_closed_pipe_or_a_full_disk(tiny_model: Path) -> None:
    words = f"{COMPLETE} --stream -q".replace("MODEL", shlex.quote(str(tiny_model)))
    done = run(shlex.split(words), redirected="| true")
    assert (done.returncode, done.stdout) == (141, "")
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr
    full = run(shlex.split(words), redirected=">/dev/full")
    assert full.returncode == 7
    assert "standard output (No space left on device)" in full.stderr
    assert "Traceback" not in full.stderr


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-", ">&- 2>&-"])
@pytest.mark.parametrize(("arguments", "code"), [("formats list", 0), ("nowhere --json", 2)])
def test_descriptors_may_be_closed_from_the_start(closed: str, arguments: str, code: int) -> None:
    done = run(arguments.split(), redirected=closed)
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert bool(done.stdout) == (" >&-" not in f" {closed}")


def test_a_closed_standard_input_is_told() -> None:
    done = run(["complete", "--prefix", "-"], redirected="<&-")
    assert done.returncode == 2
    assert is_one_sentence(done.stderr)
    assert "stdin, which is closed" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
    ],
)
def test_without_utf8_tables_are_ascii_and_answers_utf8(
    env: dict[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    for arguments in (
        "formats list",
        "config show --set model.name=mod\xe8le",
        "data stats nowh\xe9",
    ):
        done = run(arguments.split(), cwd=tmp_path, **env)
        assert "Traceback" not in done.stderr
        assert (done.stdout + done.stderr).isascii()
    words = [*COMPLETE.replace("MODEL", str(tiny_model)).split(), "-q"]
    usual = run(words, cwd=tmp_path)
    assert run(words, cwd=tmp_path, **env).stdout == usual.stdout
    assert usual.stdout


def test_a_bug_leaves_its_traceback_in_the_cache(tmp_path: Path) -> None:
    cache = tmp_path / "my cache"
    code = BROKEN.format(error="ValueError('a\\nbug \\x1b[31m' + 'x' * 900)")
    arguments = ["config", "check", "--set", "model.name=my model"]
    done = run(arguments, code=code, cwd=tmp_path, FIM_CACHE_DIR=str(cache))
    assert done.returncode == 1
    error, hint, place = done.stderr.splitlines()
    assert error.startswith("error: unexpected ValueError: a bug \\x1b[31mxxx")
    assert len(error) < 500
    again = "fim config check --set 'model.name=my model' --debug"
    assert hint == f"hint: run again with --debug and report it: {again}"
    kept = Path(shlex.split(place)[-1])
    assert kept.parent == cache
    assert kept.read_text().startswith(again)
    assert "Traceback" in kept.read_text()
    told = json.loads(run([*arguments, "--json"], code=code, FIM_CACHE_DIR=str(cache)).stdout)
    assert told["error"]["context"]["traceback"] == str(kept)


def test_a_bug_is_told_where_no_cache_can_be_written(tmp_path: Path) -> None:
    done = run(
        ["config", "check"],
        code=BROKEN.format(error="ValueError()"),
        cwd=tmp_path,
        FIM_CACHE_DIR="/proc/nowhere",
    )
    assert done.returncode == 1
    assert is_one_sentence(done.stderr)
    debugged = run(["config", "check", "--debug"], code=BROKEN.format(error="EOFError('end')"))
    assert "Traceback" in debugged.stderr
    assert "error: unexpected EOFError: end" in debugged.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPIPE])
def test_what_the_system_refuses_is_no_bug(number: int, tmp_path: Path) -> None:
    code = BROKEN.format(error=f"OSError({number}, 'reason', 'a place')")
    done = run(["config", "check"], code=code, cwd=tmp_path)
    assert done.returncode == 7
    assert is_one_sentence(done.stderr)
    assert "reason" in done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Make a disk of 600 kB, where this may be done."""
    disk = tmp_path / "disk"
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(["mount", *options], capture_output=True, check=False)
    except OSError:
        pytest.skip("no mount command")
    if mounted.returncode != 0:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@pytest.mark.slow
def test_a_run_folder_on_a_full_disk(small_disk: Path, tiny_model: Path) -> None:
    rows = write_rows(small_disk.parent / "rows.jsonl")
    (small_disk / "fill").write_bytes(bytes(530 * 1024))
    arguments = ["train", "-q", "--set", "lora.r=64", "--out", str(small_disk / "run")]
    more = {"FIM_LORA_R": "64", "FIM_TRAIN_SAVE_STEPS": "1", "FIM_TRAIN_MAX_STEPS": "1"}
    done = run(arguments, cwd=small_disk.parent, **environment(tiny_model, rows, **more))
    assert done.returncode == 7
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
