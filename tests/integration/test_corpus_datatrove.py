"""The steps that datatrove runs fill the cache that a build reads."""

from __future__ import annotations

from pathlib import Path

from fim.config import CorpusSettings
from fim.corpus import build_corpus
from fim.corpus.datatrove_steps import CutHoles, ReadFiles

SETTINGS = CorpusSettings(held_out_fraction=0.3)


def test_every_task_does_its_share_and_the_build_finds_it(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    for n in range(11):
        lines = (f"value_{n}_{k} = compute_{n}(argument_{k}, {n * k})\n" for k in range(40))
        (root / f"m{n}.py").write_text("".join(lines))
    (root / "empty.py").write_text("")
    cache = tmp_path / "cache"
    read, cut = ReadFiles((root,), SETTINGS, cache), CutHoles(SETTINGS, cache)
    counts = [len(list(cut(read(None, rank, 3), rank, 3))) for rank in range(3)]
    assert sum(counts) == 11
    assert list(cut([])) == []
    built = build_corpus([root], settings=SETTINGS, out=tmp_path / "set", cache=cache)
    assert built.num_known == {"files": 12, "documents": 11}
