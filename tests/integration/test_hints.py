"""Hints are commands that were tried: those of the failures that can be caused here are parsed."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer

from fim.cli.app import app, main
from fim.config import known_settings
from fim.config.switches import SWITCH_NAMES

FAILURES = (
    "complete",
    "complete --prefix x",
    "complete --file 'my file.py'",
    "complete --file 'my file.py' --line 9 --column 1",
    "complete --file 'my file.py' --line 1 --column 99",
    "complete --file 'nowhere at all.py' --line 1 --column 1",
    "complete --line 1",
    "complete --prefix - --suffix -",
    "complete --prefix x --prefix-file 'my file.py'",
    "complete --prefix x --preset cpu --model missing/model",
    "complete --prefix x --preset cpu --adapter 'no adapter'",
    "complete --prefix x --preset cpu --set infer.stop=soon",
    "complete --prefix x --set model.quantisation=none",
    "config show --bogus",
    "config explain",
    "config explain train.lerning_rate",
    "config explain train.seed --set train.seed=x",
    "config explain train.seed --set train.seed",
    "config show --set train.warmup_ratio=7",
    "config show --preset cpuu",
    "confg",
    "data stats 'no rows'",
    "data stats 'my file.py'",
    "data check 'my folder'",
    "data inspect rows.jsonl --index 77 --preset cpu --model 'my model'",
    "data build 'no folder'",
    "data build 'my folder'",
    "data build 'my folder' --out 'my folder'",
    "data build 'my file.py' --commit HEAD",
    "data build 'my folder' --from-commits 3",
    "eval run --suite nowhere --preset cpu",
    "eval run --suite own --preset cpu",
    "eval compare 'no run' other",
    "export hub 'no run'",
    "formats show psmm",
    "report 'no run'",
    "runs show 'no run'",
    "runs list --set log.file=/proc/nowhere/log",
    "train --preset cpu --data 'no rows'",
    "train --preset cpu --data empty.jsonl --model missing/model",
    "train --resume last",
    "train --preset cpu --data rows.jsonl --set lora.target_modules=",
    "train --preset cpu --data rows.jsonl --out 'my folder' --dry-run --model missing/model",
)
_COMMAND = re.compile(r"`(fim [^`]+)`|(?:^|: |; )(fim [^;,`]+)")
_VARIABLE = re.compile(r"\b(FIM_[A-Z0-9_]+)\b")
_ASSIGNMENT = re.compile(r"--set ([a-z_.]+)=|\bset ([a-z]+\.[a-z_]+)\b")
_NAMES = (
    {known.env_name for known in known_settings().values()} | set(SWITCH_NAMES) | {"FIM_PRESET"}
)


@pytest.fixture
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    for name in [name for name in os.environ if name.startswith("FIM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "my folder").mkdir()
    (tmp_path / "my folder" / "notes.txt").write_text("nothing\n")
    (tmp_path / "my file.py").write_text("x = 1\n")
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "rows.jsonl").write_text('{"prefix": "a", "middle": "b", "suffix": "c"}\n')


def parses(command: str) -> None:
    """Parse a printed command as a shell and the command line would, without running it."""
    words = [re.sub(r"^(N|INDEX)$", "1", word) for word in shlex.split(command)]
    assert words.pop(0) == "fim"
    node = typer.main.get_command(app)
    context = node.make_context("fim", [], resilient_parsing=True)
    while hasattr(node, "commands") and words and words[0] in node.commands:
        name = words.pop(0)
        node = node.commands[name]
        context = node.make_context(name, [], parent=context, resilient_parsing=True)
    assert not hasattr(node, "commands") or words == ["--help"], command
    if words != ["--help"]:
        node.make_context(node.name, words, parent=context)


@pytest.mark.usefixtures("_folder")
@pytest.mark.parametrize("line", FAILURES)
def test_the_hint_of_a_failure_can_be_followed(
    line: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main([*shlex.split(line), "--json"])
    answer = json.loads(capfd.readouterr().out)
    assert done.value.code not in {0, 1}
    hint = answer["error"]["hint"]
    assert hint
    for quoted, bare in _COMMAND.findall(hint):
        parses(quoted or re.split(r" (?:tells|makes|shows|says|tries) ", bare.strip())[0])
    assert set(_VARIABLE.findall(hint)) <= _NAMES
    keys = {one or other for one, other in _ASSIGNMENT.findall(hint)}
    assert keys <= set(known_settings())


@pytest.mark.usefixtures("_folder")
def test_printed_paths_are_words_of_a_shell(capfd: pytest.CaptureFixture[str]) -> None:
    body = "".join(
        f"def part_{n}(left, right):\n    return left * {n} + right\n\n\n" for n in range(40)
    )
    Path("my folder/a.py").write_text(body)
    Path("my folder/b.py").write_text(body.replace("left", "other").replace("*", "-"))
    with pytest.raises(SystemExit) as done:
        main(["data", "build", "my folder", "--out", "it's a set"])
    assert done.value.code == 0
    hints = [
        line.removeprefix("hint: ")
        for line in capfd.readouterr().err.splitlines()
        if line.startswith("hint: fim ")
    ]
    assert hints
    for hint in hints:
        parses(hint)
        assert "it's a set" in shlex.split(hint)
