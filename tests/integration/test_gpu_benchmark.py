"""The GPU benchmark's own logic, on the CPU: it agrees where it should, and can disagree."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SCRIPT = BENCHMARKS / "gpu_train.py"


@pytest.fixture(scope="module")
def benchmark() -> Any:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import gpu_train
    finally:
        sys.path.remove(str(BENCHMARKS))
    return gpu_train


@pytest.fixture(scope="module")
def job(benchmark: Any) -> Any:
    return benchmark.tiny_jobs(benchmark.check_jobs())[0]


@pytest.fixture(scope="module")
def rows(benchmark: Any, job: Any, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    import random

    path = tmp_path_factory.mktemp("rows") / "rows"
    generator = random.Random(1)
    with path.open("w") as stream:
        for document in range(3):
            trunk = [generator.randrange(3, 49_000) for _ in range(60)]
            for hole in range(8):
                prompt = [*trunk[: 40 + hole], *(generator.randrange(3, 49_000) for _ in range(9))]
                middle = [generator.randrange(3, 49_000) for _ in range(4)]
                facts = {
                    "kind": "constructed",
                    "ids": [*prompt, *middle],
                    "labels": [-100] * len(prompt) + middle,
                    "prompt": len(prompt),
                    "document": str(document),
                }
                stream.write(json.dumps(facts) + "\n")
    found = benchmark.read_rows(path, job, 49_152)
    assert len(found) == 8
    return found


@pytest.fixture(scope="module")
def train(benchmark: Any, job: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    folder = benchmark.write_model(tmp_path_factory.mktemp("model"), job, benchmark.TINY)

    def run(rows: list[Any], **changes: object) -> Any:
        return benchmark.train_once(folder, replace(job, **changes), rows)

    return run


@pytest.fixture(scope="module")
def reference(train: Callable[..., Any], rows: list[Any]) -> Any:
    return train(rows)


def test_trees_learn_what_single_rows_learn(
    benchmark: Any, train: Callable[..., Any], rows: list[Any], reference: Any
) -> None:
    found = train(rows, packing="tree")
    assert found["packing"] == "tree"
    assert found["token_gain"] > 1.3
    agreed = benchmark.agreement(reference, found)
    assert agreed["agrees"], agreed
    assert agreed["nll_difference"] < 1e-3


@pytest.mark.parametrize("fault", ["shifted labels", "another prompt", "reversed prompt", "a leak"])
def test_a_fault_is_seen(
    benchmark: Any,
    train: Callable[..., Any],
    rows: list[Any],
    reference: Any,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    import torch

    from fim.training import trainer

    original = torch.nn.functional.scaled_dot_product_attention

    def broken(row: Any) -> Any:
        ids, labels, start = row.input_ids, row.labels, row.prompt_length
        if fault == "shifted labels":
            return replace(row, labels=(*labels[1:], -100))
        if fault == "another prompt":
            return replace(
                row, input_ids=(*((each + 7) % 49_000 for each in ids[:start]), *ids[start:])
            )
        if fault == "reversed prompt":
            return replace(row, input_ids=(*ids[:start][::-1], *ids[start:]))
        return row

    with monkeypatch.context() as patch:
        if fault == "a leak":
            from contextlib import nullcontext

            patch.setattr(trainer, "training_attention", lambda *_, **__: nullcontext())

            def leaking(*tensors: Any, is_causal: bool = False, **more: Any) -> Any:
                is_training = torch.is_grad_enabled()
                return original(*tensors, is_causal=is_causal and not is_training, **more)

            patch.setattr(torch.nn.functional, "scaled_dot_product_attention", leaking)
        found = train([broken(row) for row in rows])
    assert found["losses"][0] == pytest.approx(reference["losses"][0], rel=0.02)
    agreed = benchmark.agreement(reference, found)
    assert not agreed["agrees"], agreed


@pytest.mark.slow
def test_both_parts_run_to_their_end_and_go_on_where_they_were_stopped(tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [
                sys.executable,
                str(SCRIPT),
                *words,
                "--tiny",
                "--model-dir",
                str(tmp_path / "models"),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=280,
        )

    rows = str(tmp_path / "rows")
    run("rows", rows)
    for part in ("check", "speed"):
        out = tmp_path / f"{part}.json"
        first = run(part, rows, "--json", str(out))
        answer = json.loads(out.read_text())
        assert answer["rows"], first.stderr
        assert all("failed" not in row for row in answer["rows"]), answer["rows"]
        again = run(part, rows, "--json", str(out))
        assert "done" not in again.stderr
        assert json.loads(out.read_text())["rows"] == answer["rows"]
        if part == "check":
            told = answer["agreement"]["transformers, tree, bfloat16"]
            assert told["agrees"]
            assert told["is_stdout_empty"]
        else:
            assert answer["ratios"]


def test_what_failed_is_told_with_its_last_lines(benchmark: Any, job: Any, tmp_path: Path) -> None:
    task = {"job": asdict(job), "model": str(tmp_path), "rows": str(tmp_path / "none")}
    found = benchmark.in_process(task, is_tiny=True)
    assert any("No such file or directory" in line for line in found["failed"])
    assert len(found["failed"]) > 3


def test_without_a_gpu_it_says_so(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    words = ("check", str(tmp_path / "rows"), "--json", str(tmp_path / "x.json"))
    answer = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 2
    assert "no CUDA device" in answer.stderr
