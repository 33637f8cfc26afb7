"""Published suites from copies of their data sets, in the very layout of the hub."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fim.errors import InvalidExampleError, InvalidSettingError, SourceNotFoundError
from fim.evaluation.code_metrics import PASS_AT_1
from fim.evaluation.sandbox import Sandbox
from fim.evaluation.scoring import gold_program
from fim.evaluation.suites import HUB_PARTS, SUITE_SCORE, Suite, load_published

SAFIM_CARD = """---
configs:
- config_name: block
  data_files:
  - split: test
    path: block_completion.jsonl.gz
- config_name: api
  data_files:
  - split: test
    path: api_completion.jsonl.gz
---
"""
REPOBENCH_CARD = """---
configs:
- config_name: default
  data_files:
  - split: cross_file_first
    path: data/cross_file_first-*
  - split: in_file
    path: data/in_file-*
---
"""


def safim_row(number: int, language: str = "python") -> dict[str, Any]:
    tests = [{"input": "2 3", "output": ["5"]}, {"input": "1 1", "output": ["2", "2.0"]}]
    return {
        "lang": language,
        "prompt": "Complete the code",
        "eval_prompt": "a, b = map(int, input().split())\r\n{{completion}}\r\nprint(c)\r\n",
        "ground_truth": "c = a + b",
        "unit_tests": json.dumps(tests),
        "task_id": f"block_completion_{number:06d}",
    }


def repobench_row(_number: int) -> dict[str, Any]:
    return {
        "repo_name": "a/b",
        "file_path": "src/c.java",
        "context": [{"identifier": "d", "path": "d.java", "snippet": "class D {}"}],
        "import_statement": "import d;",
        "cropped_code": "D x =",
        "next_line": "  new D();",
    }


def write_gzip(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def safim(folder: Path) -> None:
    (folder / "README.md").write_text(SAFIM_CARD)
    rows = [safim_row(0), safim_row(1), safim_row(2, "java"), safim_row(3, "cpp")]
    write_gzip(folder / "block_completion.jsonl.gz", rows)
    call = {**safim_row(0), "ground_truth": "c = add(a, b)", "unit_tests": "[]"}
    write_gzip(folder / "api_completion.jsonl.gz", [call])


def repobench(folder: Path) -> None:
    (folder / "README.md").write_text(REPOBENCH_CARD)
    (folder / "data").mkdir()
    for split, count in (("cross_file_first", 3), ("in_file", 2)):
        table = pa.Table.from_pylist([repobench_row(number) for number in range(count)])
        pq.write_table(table, folder / "data" / f"{split}-00000-of-00001.parquet")


def santacoder(folder: Path) -> None:
    row = {"name": "HumanEval_0", "language": "js", "prompt": "f(x) {", "suffix": "}"}
    table = pa.Table.from_pylist([{**row, "canonical_solution": "  return x;", "tests": "f()"}])
    (folder / "data").mkdir()
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet")


def cceval(folder: Path) -> None:
    row = {
        "prompt": "import a\na.",
        "right_context": "\n",
        "groundtruth": "call(1)",
        "metadata": {"task_id": "project_cc_csharp/1", "repository": "r", "file": "x.cs"},
        "crossfile_context": {"text": "", "list": [{"retrieved_chunk": "1", "filename": "a.cs"}]},
    }
    for language in ("python", "csharp"):
        name = f"crosscodeeval_data/{language}/line_completion_rg1_bm25.jsonl"
        write_lines(folder / name, [row] * (2 if language == "csharp" else 1))


def execrepobench(folder: Path) -> None:
    row = {"repo_name": "r", "file_name": "r/a.py", "prefix_code": "a = ", "middle_code": "1"}
    more = {"suffix_code": "\n", "context_code": [["b.py", "b = 2"]], "fill_type": "span"}
    write_lines(folder / "exec_repo_bench.jsonl", [row | more])


@pytest.mark.parametrize(
    ("name", "part", "write", "wanted", "primary"),
    [
        ("safim", None, safim, 2, PASS_AT_1),
        ("safim", "api", safim, 1, SUITE_SCORE),
        ("repobench", "java-in_file", repobench, 2, SUITE_SCORE),
        ("repobench", None, repobench, 3, SUITE_SCORE),
        ("santacoder-fim", None, santacoder, 1, SUITE_SCORE),
        ("cceval", "csharp", cceval, 2, SUITE_SCORE),
        ("execrepobench", None, execrepobench, 1, SUITE_SCORE),
    ],
)
def test_copies_of_hub_folders_are_read(
    tmp_path: Path,
    name: str,
    part: str | None,
    write: Callable[[Path], None],
    wanted: int,
    primary: str,
) -> None:
    write(tmp_path)
    suite = load_published(name, tmp_path, part=part, limit=None, seed=1)
    assert len(suite.items) == wanted
    assert suite.primary == primary
    parts = {each.name: each for each in HUB_PARTS[name]}
    found = parts[part] if part else HUB_PARTS[name][0]
    assert suite.facts["source"] == found.dataset


def block(tmp_path: Path, rows: list[dict[str, Any]]) -> Suite:
    write_gzip(tmp_path / "block.jsonl.gz", rows)
    return load_published("safim", tmp_path / "block.jsonl.gz", limit=None, seed=1)


def test_tests_in_other_languages_are_refused_and_counted(tmp_path: Path) -> None:
    suite = block(tmp_path, [safim_row(0), safim_row(1, "java"), safim_row(2, "java")])
    assert suite.facts["left out"] == {"tests in Java, which are not run": 2}
    assert suite.facts["rows"] == 3
    assert suite.title == "SAFIM, pass@1"
    assert suite.rule == ""
    with pytest.raises(InvalidExampleError, match="holds no rows but 1 that are left out"):
        block(tmp_path, [safim_row(1, "java")])


def test_safim_s_tests_are_run(tmp_path: Path) -> None:
    [item] = block(tmp_path, [safim_row(0)]).items
    program = gold_program(item)
    assert program is not None
    assert item.kind == "block"
    assert Sandbox().run(program).has_passed


def test_one_task_of_safim_at_a_time(tmp_path: Path) -> None:
    with pytest.raises(InvalidExampleError, match="mixes 1 holes with tests and 1 without"):
        block(tmp_path, [safim_row(0), {**safim_row(1), "unit_tests": "[]"}])


def test_execrepobench_says_that_its_tests_are_not_run(tmp_path: Path) -> None:
    execrepobench(tmp_path)
    suite = load_published("execrepobench", tmp_path, limit=None, seed=1)
    assert "1 holes: each needs its whole repository" in str(suite.facts["tests not run"])
    assert suite.title == "ExecRepoBench, edit similarity"


def test_without_a_network_the_way_round_is_told() -> None:
    with pytest.raises(SourceNotFoundError, match="part block of gonglinyuan/safim") as caught:
        load_published("safim", None, limit=None, seed=1)
    assert "hf download --repo-type dataset gonglinyuan/safim --local-dir DIR" in caught.value.hint


def test_parts_and_files_that_do_not_exist_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingError, match="no part 'x' on the hub") as caught:
        load_published("safim", None, part="x", limit=None, seed=1)
    assert "block, control, api" in caught.value.hint
    with pytest.raises(SourceNotFoundError, match="none was given"):
        load_published("humaneval-random-span", None, limit=None, seed=1)
    with pytest.raises(SourceNotFoundError, match="cannot be read"):
        load_published("cceval", tmp_path, limit=None, seed=1)
