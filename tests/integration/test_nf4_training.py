"""Training on a 4-bit base: 16-bit numbers, as exact as wide ones, memory as estimated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.config import LoraSettings
from fim.model import LoadedModel, ModelShape
from fim.planning.memory import Place, bytes_per_token_and_layer
from fim.training.loss import supervised_forward
from fim.training.precision import activations_uncast, autocast_for
from model_toys import VOCABULARY_TOKENS, toy_loader, write_toy_model

if TYPE_CHECKING:
    import torch

NUM_ROWS, NUM_TOKENS = 2, 192


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("nf4"), hidden_size=128, is_tied=False)


def load(folder: Path, *, load_in_4bit: bool = True, dtype: str = "bfloat16") -> LoadedModel:
    import torch

    loader = toy_loader(folder, load_in_4bit=load_in_4bit, dtype=dtype, r=8)
    loaded = loader.for_training(loader.load())
    for name, parameter in loaded.model.named_parameters():
        if "lora_B" in name:
            generator = torch.Generator().manual_seed(len(name))
            parameter.data.normal_(0, 0.05, generator=generator)
    loaded.model.train()
    return loaded


def batch() -> dict[str, torch.Tensor]:
    import torch

    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(2, VOCABULARY_TOKENS, (NUM_ROWS, NUM_TOKENS), generator=generator)
    labels = torch.full_like(ids, -100)
    labels[:, -8:] = ids[:, -8:]
    return {"input_ids": ids, "supervised_labels": labels}


def gradients(loaded: LoadedModel) -> torch.Tensor:
    import torch

    with supervised_forward(loaded.model), activations_uncast(loaded), autocast_for(loaded)():
        loaded.model(**batch()).backward()
    return torch.cat(
        [each.grad.flatten() for each in loaded.model.parameters() if each.grad is not None]
    )


def widened(loaded: LoadedModel) -> LoadedModel:
    """Return a model prepared as PEFT does: everything around the 4-bit weights in float32."""
    import torch

    for parameter in loaded.model.parameters():
        if parameter.dtype is torch.bfloat16:
            parameter.data = parameter.data.float()
    return loaded


def test_every_activation_between_4_bit_layers_has_16_bits(folder: Path) -> None:
    import torch

    loaded = load(folder)
    seen: dict[str, set[torch.dtype]] = {}

    def note(name: str) -> object:
        def hook(_module: object, inputs: tuple[torch.Tensor, ...], output: object) -> None:
            first = output[0] if isinstance(output, tuple) else output
            seen[name] = {inputs[0].dtype, first.dtype}  # type: ignore[union-attr]

        return hook

    for name, module in loaded.model.named_modules():
        kind = type(module).__name__
        if kind in {"Linear4bit", "Qwen3RMSNorm", "Embedding"} or name.endswith("lm_head"):
            module.register_forward_hook(note(name))
    gradients(loaded)
    assert len(seen) == 2 * (2 * 7 + 4) + 3
    for name, kinds in seen.items():
        assert kinds <= {torch.bfloat16, torch.int64}, name
    held = {each.dtype for each in loaded.model.parameters() if not each.requires_grad}
    assert held == {torch.uint8, torch.bfloat16}


def test_16_bits_are_as_exact_as_wide_ones(folder: Path) -> None:
    exact = gradients(load(folder, dtype="float32"))
    narrow = (gradients(load(folder)) - exact).norm() / exact.norm()
    wide = (gradients(widened(load(folder))) - exact).norm() / exact.norm()
    assert narrow < 1.15 * wide
    assert narrow < 0.06


@pytest.mark.parametrize("load_in_4bit", [True, False], ids=["nf4", "plain"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_activations_are_as_many_bytes_as_estimated(
    folder: Path, load_in_4bit: bool, dtype: str
) -> None:
    import torch

    loaded = load(folder, load_in_4bit=load_in_4bit, dtype=dtype)
    weights = {each.untyped_storage().data_ptr() for each in loaded.model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        is_activation = tensor.numel() >= NUM_ROWS * NUM_TOKENS
        if storage.data_ptr() not in weights and is_activation:
            kept.append(tensor)
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    kept: list[torch.Tensor] = []
    with (
        supervised_forward(loaded.model),
        activations_uncast(loaded),
        autocast_for(loaded)(),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda each: each),
    ):
        loaded.model(**batch())
    shape = ModelShape.of(loaded.model.config)
    assert shape is not None
    place = Place(
        "cuda", dtype, "transformers", load_in_4bit, is_eager=False, optimizer="adamw_8bit"
    )
    estimated = bytes_per_token_and_layer(shape, LoraSettings(r=8), place)
    measured = sum(sizes.values()) / (NUM_ROWS * NUM_TOKENS * shape.num_layers)
    assert estimated == pytest.approx(measured, rel=0.06)


def test_a_checkpoint_that_is_stored_in_4_bits_computes_in_the_machines_number_type(
    folder: Path, tmp_path: Path
) -> None:
    import torch
    from bitsandbytes.nn import Linear4bit

    stored = tmp_path / "stored"
    toy_loader(folder, load_in_4bit=True, dtype="bfloat16").load().model.save_pretrained(stored)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (stored / name).write_bytes((folder / name).read_bytes())
    for load_in_4bit in (True, False):
        loaded = toy_loader(stored, load_in_4bit=load_in_4bit, dtype="float16").load()
        kinds = {m.compute_dtype for m in loaded.model.modules() if isinstance(m, Linear4bit)}
        assert kinds == {torch.float16}
        assert loaded.is_quantised
