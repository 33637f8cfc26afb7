"""Hashes of a base: the same however it is loaded, others for other weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from fim.errors import AdapterMismatchError
from fim.model import read_adapter_record, save_adapter
from fim.model.marks import BaseMarks, marks_of
from model_toys import toy_loader, write_toy_model


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("toy"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_rounding_does_not_change_the_hashes(toy: Path, dtype: str) -> None:
    plain = toy_loader(toy).load().marks
    assert plain.embedding != plain.projections
    assert None not in asdict(plain).values()
    assert toy_loader(toy, dtype=dtype).load().marks == plain
    quantised = toy_loader(toy, dtype=dtype, load_in_4bit=True).load().marks
    assert quantised == BaseMarks(plain.embedding, None)
    assert quantised.difference(plain) is None


@pytest.mark.parametrize("part", ["embed_tokens", "q_proj", "down_proj"])
def test_other_weights_have_another_hash(toy: Path, part: str) -> None:
    model = toy_loader(toy).load().model
    before = marks_of(model)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if part in name:
                weight.add_(0.01 * torch.randn_like(weight))
    difference = before.difference(marks_of(model))
    assert difference is not None
    assert difference[0] in asdict(before).values()


@pytest.mark.parametrize("load_in_4bit", [False, True], ids=["plain", "nf4"])
def test_an_adapter_is_refused_on_another_base_of_its_shape(
    toy: Path, tmp_path: Path, load_in_4bit: bool
) -> None:
    loader = toy_loader(toy)
    folder = save_adapter(loader.for_training(loader.load()), tmp_path / "adapter")
    record = read_adapter_record(folder)
    assert record is not None
    assert record.base_path == str(toy)
    again = toy_loader(toy, load_in_4bit=True)
    again.with_adapter(again.load(), folder)
    twin = write_toy_model(tmp_path / "twin", seed=1)
    other = toy_loader(twin, load_in_4bit=load_in_4bit)
    loaded = other.load()
    theirs, own = record.embedding_hash or "", loaded.marks.embedding or ""
    with pytest.raises(AdapterMismatchError, match=f"{theirs}.*{own}") as caught:
        other.with_adapter(loaded, folder)
    assert caught.value.hint == f"Load the right base: --model {toy}"


def test_a_record_without_hashes_still_loads(toy: Path, tmp_path: Path) -> None:
    loader = toy_loader(toy)
    folder = save_adapter(loader.for_training(loader.load()), tmp_path / "adapter")
    path = folder / "fim_adapter.json"
    record = json.loads(path.read_text())
    for name in ("base_path", "embedding_hash", "projections_hash"):
        record.pop(name)
    path.write_text(json.dumps(record))
    loader.with_adapter(loader.load(), folder)
    twin = toy_loader(write_toy_model(tmp_path / "twin", seed=1))
    twin.with_adapter(twin.load(), folder)


def test_a_base_is_the_same_under_a_relative_name(
    toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(toy.parent)
    near = toy_loader(toy.name)
    folder = save_adapter(near.for_training(near.load()), tmp_path / "adapter")
    monkeypatch.chdir(tmp_path)
    loader = toy_loader(toy)
    loader.with_adapter(loader.load(), folder)
