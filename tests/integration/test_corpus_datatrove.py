"""The steps that datatrove runs fill the cache that a build reads."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim.config import CorpusSettings
from fim.corpus import build_corpus
from fim.corpus.datatrove_steps import CutHoles, ReadFiles

SETTINGS = CorpusSettings(held_out_fraction=0.3)
NUM_FILES = 11


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    root.mkdir()
    for n in range(NUM_FILES):
        lines = (f"value_{n}_{k} = compute_{n}(argument_{k}, {n * k})\n" for k in range(40))
        (root / f"m{n}.py").write_text("".join(lines))
    (root / "empty.py").write_text("")
    return root


def files_of(out: Path) -> dict[str, bytes]:
    return {str(p.relative_to(out)): p.read_bytes() for p in out.rglob("*") if p.is_file()}


def test_every_task_does_its_share_and_the_build_finds_it(tree: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    read, cut = ReadFiles((tree,), SETTINGS, cache), CutHoles(SETTINGS, cache)
    counts = [len(list(cut(read(None, rank, 3), rank, 3))) for rank in range(3)]
    assert sum(counts) == NUM_FILES
    assert list(cut([])) == []
    built = build_corpus([tree], settings=SETTINGS, out=tmp_path / "set", cache=cache)
    assert built.num_known == {"files": NUM_FILES + 1, "documents": NUM_FILES}


@pytest.mark.filterwarnings("ignore")
def test_the_local_executor_of_datatrove_runs_the_steps(
    tree: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    executor = pytest.importorskip("datatrove.executor", reason="datatrove is not installed")
    cache = tmp_path / "cache"
    steps = [ReadFiles((tree,), SETTINGS, cache), CutHoles(SETTINGS, cache)]
    for tasks, workers in ((3, 1), (4, 2)):
        logs = tmp_path / f"logs{tasks}"
        executor.LocalPipelineExecutor(
            pipeline=steps,
            tasks=tasks,
            workers=workers,
            start_method="spawn",
            logging_dir=str(logs),
            skip_completed=False,
        ).run()
        assert len(list((logs / "completions").iterdir())) == tasks
    capfd.readouterr()
    built = build_corpus([tree], settings=SETTINGS, out=tmp_path / "set", cache=cache)
    assert built.num_known == {"files": NUM_FILES + 1, "documents": NUM_FILES}
    plain = build_corpus([tree], settings=SETTINGS, out=tmp_path / "plain")
    assert files_of(plain.out) == files_of(built.out)
