"""Examples from a built set, from the hub, and their manifests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fim import gathering
from fim.config import Settings
from fim.data import LoadedExamples, load_examples
from fim.gathering import build_examples, gather_examples

SETTINGS = Settings()


@pytest.fixture
def built(tmp_path: Path) -> Path:
    code = tmp_path / "code"
    code.mkdir()
    for number, name in enumerate(("alpha", "beta", "gamma", "delta", "omega")):
        lines = [f"def {name}_{part}(x):\n    return x + {part * number}\n" for part in range(30)]
        (code / f"{name}.py").write_text("\n\n".join(lines))
    corpus = SETTINGS.corpus.model_copy(update={"near_duplicate_threshold": 1.0})
    settings = SETTINGS.model_copy(update={"corpus": corpus})
    out = tmp_path / "built"
    made = build_examples((code,), settings, out=out, source="my code", progress=None)
    assert made.manifest["source"] == "my code"
    assert made.manifest["languages"] == ["Python"]
    assert made.train
    assert made.held_out
    return out


def with_data(**values: object) -> Settings:
    return SETTINGS.model_copy(update={"data": SETTINGS.data.model_copy(update=values)})


def test_a_built_set_keeps_its_sides(built: Path, tmp_path: Path) -> None:
    examples = gather_examples(with_data(path=built), folder=tmp_path / "unused", progress=None)
    counts = examples.manifest["examples"]
    assert counts == {"train": len(examples.train), "held_out": len(examples.held_out)}
    paths = {example.path for example in examples.train}
    assert not paths & {example.path for example in examples.held_out}
    assert not (tmp_path / "unused").exists()


def test_the_hub_set_is_split_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rows.jsonl"
    with rows.open("w", encoding="utf-8") as stream:
        for number in range(30):
            row = {"prefix": f"a{number} = ", "middle": str(number), "suffix": f"\nb{number}\n"}
            stream.write(json.dumps({**row, "context_items": [], "lang": "py"}) + "\n")

    def from_hub(data: object, *, token: str | None) -> LoadedExamples:
        assert data == SETTINGS.data
        assert token is None
        return load_examples(rows, settings=SETTINGS.data)

    monkeypatch.setattr(gathering, "load_hub_examples", from_hub)
    examples = gather_examples(SETTINGS, folder=tmp_path / "unused", progress=None)
    assert len(examples.train) + len(examples.held_out) == 30
    assert set(examples.manifest) >= {"source", "examples", "dropped", "hashes"}
