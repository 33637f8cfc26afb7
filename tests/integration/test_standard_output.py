"""Standard output is the answer alone, whatever libraries print there and from where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_toys import write_rows

NOISY = """
import atexit, ctypes, os, sys
from fim.cli.app import main

libc = ctypes.CDLL(None)
REMAINING = [40]

def noise(where):
    if REMAINING[0]:
        REMAINING[0] -= 1
        print("NOISE from Python", where)
        sys.__stdout__.write("NOISE to the first stream\\n")
        libc.puts(b"NOISE from C")
        os.write(1, b"NOISE to the descriptor\\n")

class Printing:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("fim.") or REMAINING[0] < 40:
            noise(name)

sys.meta_path.insert(0, Printing())
atexit.register(noise, "at exit")
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.jsonl")


def run(code: str, *arguments: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        cwd=cwd,
        env={**os.environ, **env},
        check=False,
        timeout=200,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "config show --json",
        "config check --json",
        "config explain train.seed",
        "formats list --json",
        "formats show psm --json",
        "runs list --json",
        "doctor --json",
        "data stats ROWS --json",
        "data check ROWS --json",
        "data inspect ROWS --preset cpu --model MODEL --index 1 --json",
        "data inspect nowhere --json",
        "train --dry-run --preset cpu --model MODEL --data ROWS --json",
        "complete --preset cpu --json",
    ],
)
def test_no_library_reaches_standard_output(
    arguments: str, rows: Path, tiny_model: Path, tmp_path: Path
) -> None:
    places = {"ROWS": str(rows), "MODEL": str(tiny_model)}
    words = [places.get(word, word) for word in arguments.split()]
    answer = run(NOISY, *words, cwd=tmp_path)
    assert b"NOISE" not in answer.stdout
    assert b"NOISE from Python" in answer.stderr
    assert b"NOISE from C" in answer.stderr
    assert b"NOISE to the descriptor" in answer.stderr
    if "--json" in words:
        assert isinstance(json.loads(answer.stdout), dict)
    else:
        assert answer.stdout.startswith(b"train.seed = 3407\n")


def test_a_completion_is_the_text_and_nothing_else(tiny_model: Path, tmp_path: Path) -> None:
    words = "complete --preset cpu --set infer.max_new_tokens=4 --prefix x --model"
    arguments = [*words.split(), str(tiny_model)]
    told = run(NOISY, *arguments, "--json", cwd=tmp_path)
    text = json.loads(told.stdout)["text"]
    assert text
    assert run(NOISY, *arguments, cwd=tmp_path).stdout == text.encode()
    assert run(NOISY, *arguments, "--stream", cwd=tmp_path).stdout == text.encode()


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_is_an_answer(argument: str, tmp_path: Path) -> None:
    answer = run(
        "import sys; from fim.cli.app import main; main(sys.argv[1:])", argument, cwd=tmp_path
    )
    assert b"fim" in answer.stdout
    assert answer.stderr == b""


def test_a_closed_standard_error_does_not_matter(tmp_path: Path) -> None:
    command = 'exec "$0" -c "$1" config explain train.seed --json 2>&-'
    answer = subprocess.run(
        ["bash", "-c", command, sys.executable, NOISY],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        check=True,
        timeout=100,
    )
    assert json.loads(answer.stdout)["key"] == "train.seed"
