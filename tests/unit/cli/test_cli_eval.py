from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fake_completion_server import fake_server
from fim.cli import eval_commands


@pytest.fixture
def app() -> typer.Typer:
    made = typer.Typer()
    made.callback()(lambda: None)
    eval_commands.register(made)
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [
        {
            "id": f"h{n}",
            "document_id": f"d{n}",
            "language": "Python",
            "prefix": f"x_{n} = ",
            "middle": f"call({n})",
            "suffix": "\n",
            "span_kind": "line_end",
            "split": "held_out",
        }
        for n in range(12)
    ]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def runs(app: typer.Typer, data: Path, tmp_path: Path) -> tuple[Path, Path]:
    for name, answer in (("a", "wrong"), ("b", "call(1)")):
        with fake_server(lambda *_, text=answer: text) as server:  # type: ignore[misc]
            line = ["eval", "run", "--suite", "own", "--data", str(data), "--json", "-q"]
            line += ["--out", str(tmp_path / name), "--endpoint", server.url, "--model", "m"]
            result = CliRunner().invoke(app, line)
        assert result.exit_code == 0, result.output
        found = json.loads(result.stdout)
        assert {"out", "suite", "items", "metrics"} <= set(found)
    return tmp_path / "a", tmp_path / "b"


def test_compare_answers_with_the_contract_and_writes_the_page(
    app: typer.Typer, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    line = ["eval", "compare", *map(str, runs), "--html", str(page), "--json"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert {"items", "metrics", "verdict"} <= set(found)
    assert {"a", "b", "difference", "low", "high", "p"} == set(found["metrics"]["exact_match"])
    assert found["verdict"] in {"better", "worse", "not enough to tell"}
    assert page.read_text().startswith("<!doctype html>")


def test_people_get_a_table(app: typer.Typer, runs: tuple[Path, Path], tmp_path: Path) -> None:
    line = ["eval", "compare", *map(str, runs), "--html", str(tmp_path / "p.html")]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 0, result.output
    assert "edit similarity" in result.stdout
    assert "not enough to tell" in result.output
    again = CliRunner().invoke(app, ["eval", "rescore", str(runs[0])])
    assert again.exit_code == 0
    assert again.stdout.strip() == str(runs[0])


@pytest.mark.parametrize(
    ("threshold", "code"),
    [("exact_match=0.05", 0), ("exact_match=0.9", 6), ("exact_match", 2), ("speed=1", 6)],
)
def test_fail_under(app: typer.Typer, runs: tuple[Path, Path], threshold: str, code: int) -> None:
    line = ["eval", "compare", *map(str, runs), "--fail-under", threshold, "--json"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == code, result.output
    assert ("error" in json.loads(result.stdout)) is (code != 0)


def test_parity_is_told_and_held_against_its_share(
    app: typer.Typer, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    line = ["eval", "compare", str(runs[0]), str(runs[0]), "--parity", "1", "--json"]
    result = CliRunner().invoke(app, [*line, "--html", str(page)])
    assert result.exit_code == 0, result.output
    parity = json.loads(result.stdout)["parity"]
    assert parity["identical"] == parity["threshold"] == 1
    assert {"items", "exact_match_difference"} <= set(parity)
    assert "Export parity" in page.read_text()
    line[3] = str(runs[1])
    result = CliRunner().invoke(app, [*line, "--html", str(page)])
    assert result.exit_code == 6
    assert "0.0% of 12 answers are identical" in json.loads(result.stdout)["error"]["message"]
    assert "B is not A" in page.read_text()


def test_a_no_op_adapter_ends_with_6_and_leaves_the_page(
    app: typer.Typer, runs: tuple[Path, Path], tmp_path: Path
) -> None:
    path = runs[1] / "evaluation.json"
    for name in ("samples.jsonl", "evaluation.json"):
        (runs[1] / name).write_bytes((runs[0] / name).read_bytes())
    facts = json.loads(path.read_text())
    facts["identity"]["adapter_sha256"] = "0" * 64
    path.write_text(json.dumps(facts))
    page = tmp_path / "page.html"
    line = ["eval", "compare", *map(str, runs), "--html", str(page), "--json"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 6
    assert "did not load" in json.loads(result.stdout)["error"]["message"]
    text = page.read_text()
    assert "did not load" in text
    assert "void: nothing can be told" in text
    assert "of answers differ; at least 1.0" in text
    assert ">better<" not in text
    parity = CliRunner().invoke(app, [*line, "--parity", "0.9"])
    assert parity.exit_code == 0
    assert json.loads(parity.stdout)["problems"] == []


def test_a_key_file_has_to_be_readable(app: typer.Typer, data: Path, tmp_path: Path) -> None:
    line = ["eval", "run", "--suite", "own", "--data", str(data), "--out", str(tmp_path / "x")]
    line += ["--endpoint", "http://127.0.0.1:9", "--key-file", str(tmp_path / "none"), "--json"]
    result = CliRunner().invoke(app, line)
    assert result.exit_code == 3
    assert "cannot be read as a key" in json.loads(result.stdout)["error"]["message"]
    (tmp_path / "key").write_text("secret\n")
    line[line.index(str(tmp_path / "none"))] = str(tmp_path / "key")
    assert CliRunner().invoke(app, line).exit_code == 7
