"""Traps of the table in docs/concepts/training-traps.md that no other test has at its centre."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.config import HfSettings, LoraSettings, ModelSettings
from fim.model import Hardware, ModelLoader
from fim.training.sft import sft_config
from model_toys import write_toy_model
from packing_toys import VOCABULARY_TOKENS, tiny_model
from training_toys import toy_loaded, toy_settings

if TYPE_CHECKING:
    from fim.model import LoadedModel

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "formats"


@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_a_full_mask_leaks_where_no_mask_does_not(family: str) -> None:
    import torch

    model = tiny_model(family).eval()
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randint(5, VOCABULARY_TOKENS, (2, 12), generator=generator)
    ids = torch.cat((first, second))[None]
    positions = torch.arange(12).repeat(2)[None]
    with torch.no_grad():
        alone = model(input_ids=second[None]).logits[0]
        reset = model(input_ids=ids, position_ids=positions, use_cache=False).logits[0, 12:]
        full = model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=torch.ones_like(ids),
            use_cache=False,
        ).logits[0, 12:]
    assert float((reset - alone).abs().max()) < 1e-5
    assert float((full - alone).abs().max()) > 1e-2


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.txt")), ids=lambda path: path.stem)
def test_no_row_has_its_opening_tokens_twice(path: Path) -> None:
    openings = ("<s>", "<bos>", "<|begin_of_text|>", "<｜begin▁of▁sentence｜>")
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("text "):
            assert max(line.count(opening) for opening in openings) <= 1


def test_a_base_is_loaded_in_the_number_type_of_the_hardware(tmp_path: Path) -> None:
    import torch

    loader = ModelLoader(
        model=ModelSettings(name=str(write_toy_model(tmp_path / "toy")), load_in_4bit=False),
        lora=LoraSettings(),
        hf=HfSettings(),
        hardware=Hardware(accelerator="cpu", has_bfloat16=True, num_cores=2),
    )
    loaded = loader.load()
    assert loaded.dtype == "bfloat16"
    assert {each.dtype for each in loaded.model.parameters()} == {torch.bfloat16}


@pytest.fixture(scope="module")
def loaded(learner: Path) -> LoadedModel:
    return toy_loaded(learner)


def test_the_trainer_is_given_no_length_of_its_own(loaded: LoadedModel, tmp_path: Path) -> None:
    config = sft_config(toy_settings(), loaded, folder=tmp_path, has_own_loss=True)
    assert config.max_length is None
    assert config.packing is False
    assert config.dataset_kwargs == {"skip_prepare_dataset": True}
