"""``fim data build`` and ``fim data check`` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fim.cli import data_build
from fim.corpus.manifest import split_hash, write_corpus
from fim.errors import OutputError
from fim.types import FimExample

SOURCE = "".join(
    f"def work_{{seed}}_{n}(first_{n}, second):\n"
    f"    if first_{n} > second + {{seed}}:\n"
    f"        return call_{{seed}}(first_{n}, second)\n"
    f"    return first_{n} * {{seed}}{n}\n\n\n"
    for n in range(15)
)


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    data_build.register(made)
    return made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "project"
    root.mkdir()
    for seed in range(100, 112):
        (root / f"m{seed}.py").write_text(SOURCE.replace("{seed}", str(seed)))
    (root / "notes.md").write_text("notes")
    return root


def test_build_answers_with_the_promised_keys(app: typer.Typer, project: Path) -> None:
    result = CliRunner().invoke(app, ["build", str(project), "--out", "set", "--json"])
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["out"] == "set"
    assert answer["files"] == {"seen": 13, "used": 12, "dropped": {"unknown_language": 1}}
    assert answer["examples"]["train"] > 0
    assert answer["seconds"] > 0
    assert answer["mb_per_second"] > 0
    assert answer["peak_memory_mib"] > 1


def test_a_dry_run_counts_as_the_build_does_and_writes_nothing(
    app: typer.Typer, project: Path, tmp_path: Path
) -> None:
    arguments = ["build", str(project), "--out", "set", "--max-train", "9"]
    rehearsed = json.loads(CliRunner().invoke(app, [*arguments, "--dry-run", "--json"]).stdout)
    told = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert "dry run: nothing was written" in told.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
    built = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (rehearsed["dry_run"], built["dry_run"]) == (True, False)
    for name in ("out", "files", "holes", "examples"):
        assert rehearsed[name] == built[name]
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    refused = CliRunner().invoke(app, ["build", str(project), "--out", "other", "--dry-run"])
    assert refused.exit_code == OutputError.exit_code


def test_people_get_a_table_and_the_next_commands(app: typer.Typer, project: Path) -> None:
    arguments = ["build", str(project), "--out", "set", "--max-train", "5", "--exclude", "m100.py"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout == "set\n"
    assert "excluded" in result.stderr
    assert "fim train --data set" in result.stderr


def test_a_default_build_passes_its_check(app: typer.Typer, project: Path) -> None:
    CliRunner().invoke(app, ["build", str(project), "--out", "set", "-q"])
    result = CliRunner().invoke(app, ["check", "set", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["ok"] is True
    assert CliRunner().invoke(app, ["check", "set"]).exit_code == 0


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_damaged_set_fails_its_check(app: typer.Typer, project: Path, flags: list[str]) -> None:
    CliRunner().invoke(app, ["build", str(project), "--out", "set", "-q"])
    manifest = json.loads(Path("set/manifest.json").read_text())
    manifest["splits"]["train"]["sha256"] = "0"
    Path("set/manifest.json").write_text(json.dumps(manifest))
    result = CliRunner().invoke(app, ["check", "set", *flags])
    assert result.exit_code == 3
    if flags:
        assert json.loads(result.stdout)["leaks"]["manifest_mismatch"] == 1
    else:
        assert "cannot be trusted" in result.stderr


def test_a_missing_folder_is_told_with_a_hint(app: typer.Typer, project: Path) -> None:
    result = CliRunner().invoke(app, ["build", "nowhere", "--out", "set"])
    assert result.exit_code == 3
    assert "does not exist" in result.stderr
    assert "hint" in result.stderr
    assert project.exists()


def leaking_set(out: Path) -> Path:
    """Write a set two of whose held-out middles stand in its training text."""
    middles = [f"left_{n} = call_{n}(first_{n}, second_{n}, factor={n})[{n}]" for n in range(2)]
    train = [row("t", "".join(f"{middle}\n" for middle in middles), "train")]
    held_out = [row(f"h{n}", middle, "held_out") for n, middle in enumerate(middles)]
    sides = {"train": train, "held_out": held_out}
    manifest = {"splits": {name: {"sha256": split_hash(rows)} for name, rows in sides.items()}}
    write_corpus(out, manifest=manifest, train=train, held_out=held_out)
    return out


def row(name: str, middle: str, split: str) -> FimExample:
    text = "".join(f"line_{name}_{n} = value_{name}({n})\n" for n in range(20))
    return FimExample(
        text, middle, "\n", language="Python", path=f"{name}.py", id=name, document_id=name,
        split=split,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        ([], 3),
        (["--max-leaks", "1"], 3),
        (["--max-leaks", "2"], 0),
        (["--set", "corpus.max_leaks=2"], 0),
    ],
)
def test_a_check_fails_above_its_limit(
    app: typer.Typer, tmp_path: Path, arguments: list[str], exit_code: int
) -> None:
    out = str(leaking_set(tmp_path / "set"))
    told = CliRunner().invoke(app, ["check", out, *arguments])
    assert told.exit_code == exit_code, told.output
    answer = CliRunner().invoke(app, ["check", out, "--json", *arguments])
    assert answer.exit_code == exit_code
    leaks = json.loads(answer.stdout)["leaks"]
    assert leaks["middle_in_training_text"] == leaks["ngram_in_training_text"] == 2
    if exit_code:
        assert "cannot be trusted" in told.stderr
        assert "left_0 = call_0" in told.stderr


def test_a_set_with_an_empty_side_says_so(app: typer.Typer, project: Path) -> None:
    told = CliRunner().invoke(app, ["build", str(project / "m100.py"), "--out", "set"])
    assert told.exit_code == 0, told.output
    assert "one side is empty" in told.stderr
    both = CliRunner().invoke(app, ["build", str(project), "--out", "set"])
    assert "one side is empty" not in both.stderr
