from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.errors import (
    AdapterMismatchError,
    ConflictingSettingsError,
    ModelError,
    ModelNotFoundError,
)
from fim.model import (
    LoadedModel,
    attach_adapter,
    read_adapter_record,
    save_adapter,
)
from model_toys import VOCABULARY_TOKENS, toy_loader, write_toy_model

if TYPE_CHECKING:
    import torch


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_model(tmp_path_factory.mktemp("toy"))


def rows() -> torch.Tensor:
    import torch

    generator = torch.Generator().manual_seed(7)
    return torch.randint(2, VOCABULARY_TOKENS, (2, 12), generator=generator)


def logits(loaded: LoadedModel) -> torch.Tensor:
    import torch

    loaded.model.eval()
    with torch.no_grad():
        return loaded.model(input_ids=rows()).logits.float()


def step(loaded: LoadedModel) -> float:
    import torch

    loaded.model.train()
    loss = loaded.model(input_ids=rows(), labels=rows()).loss
    loss.backward()
    parameters = [item for item in loaded.model.parameters() if item.requires_grad]
    torch.optim.SGD(parameters, lr=0.5).step()
    return float(loss.detach())


def test_a_folder_is_loaded_as_it_is(toy: Path) -> None:
    import torch

    loaded = toy_loader(toy).load()
    assert (loaded.backend, loaded.dtype, loaded.device) == ("transformers", "float32", "cpu")
    assert loaded.name == str(toy)
    assert not loaded.is_quantised
    assert loaded.model.get_output_embeddings().weight is loaded.model.get_input_embeddings().weight
    assert {item.dtype for item in loaded.model.parameters()} == {torch.float32}
    assert loaded.model.config._attn_implementation == "sdpa"
    assert loaded.tokenizer("t5 t6")["input_ids"] == [5, 6]


def test_loading_says_nothing(
    toy: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("fim"), "handlers", [])
    loader = toy_loader(toy)
    loader.for_training(loader.load())
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("load_in_4bit", [False, True], ids=["plain", "nf4"])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_only_lora_is_trained_and_gradients_are_finite(
    toy: Path, load_in_4bit: bool, checkpointing: bool, dtype: str
) -> None:
    import torch

    loader = toy_loader(
        toy, load_in_4bit=load_in_4bit, dtype=dtype, gradient_checkpointing=checkpointing
    )
    loaded = loader.for_training(loader.load())
    assert loaded.is_quantised is load_in_4bit
    kinds = {type(module).__name__ for module in loaded.model.modules()}
    assert ("Linear4bit" in kinds) is load_in_4bit
    before = logits(loaded)
    first = step(loaded)
    trained = {name: item for name, item in loaded.model.named_parameters() if item.requires_grad}
    assert len(trained) == 2 * 7 * 2
    assert all("lora_" in name for name in trained)
    assert {item.dtype for item in trained.values()} == {torch.float32}
    for name, item in loaded.model.named_parameters():
        assert (item.grad is not None) is (name in trained)
    gradients = [item.grad for item in trained.values() if item.grad is not None]
    assert all(bool(torch.isfinite(item).all()) for item in gradients)
    assert any(float(item.abs().max()) > 0 for item in gradients)
    assert step(loaded) < first
    assert not torch.equal(logits(loaded), before)


def test_nf4_gradients_after_an_evaluation_are_those_of_the_dequantised_base(toy: Path) -> None:
    import torch
    from bitsandbytes.functional import dequantize_4bit

    loader = toy_loader(toy, load_in_4bit=True)
    quantised, plain = loader.for_training(loader.load()), toy_loader(toy)
    dense = plain.for_training(plain.load())
    for name, item in quantised.model.named_parameters():
        state = getattr(item, "quant_state", None)
        value = item if state is None else dequantize_4bit(item.data, state)
        dense.model.get_parameter(name).data.copy_(value)
    logits(quantised)
    for loaded in (quantised, dense):
        generator = torch.Generator().manual_seed(3)
        for name, item in loaded.model.named_parameters():
            if "lora_B" in name:
                item.data.normal_(0, 0.05, generator=generator)
        loaded.model.train()
        loaded.model(input_ids=rows(), labels=rows()).loss.backward()
    for name, item in quantised.model.named_parameters():
        if item.grad is not None:
            other = dense.model.get_parameter(name).grad
            assert other is not None
            assert torch.allclose(item.grad, other, atol=1e-6, rtol=1e-3), name


def test_lora_starts_as_the_base_and_its_seed_decides(toy: Path) -> None:
    import torch

    loader = toy_loader(toy)
    base = logits(loader.load())
    state = torch.random.get_rng_state()
    one, two = (loader.for_training(loader.load()) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(logits(one), base)
    for name, item in one.model.named_parameters():
        assert torch.equal(item, two.model.get_parameter(name))


@pytest.mark.parametrize("load_in_4bit", [False, True], ids=["plain", "nf4"])
def test_saved_adapter_reloads_to_equal_logits(
    toy: Path, tmp_path: Path, load_in_4bit: bool
) -> None:
    import torch

    loader = toy_loader(toy, load_in_4bit=load_in_4bit)
    trained = loader.for_training(loader.load())
    step(trained)
    expected = logits(trained)
    folder = save_adapter(trained, tmp_path / "adapter")
    assert sorted(path.name for path in folder.iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
        "fim_adapter.json",
    ]
    record = read_adapter_record(folder)
    assert record is not None
    assert (record.base, record.shape) == (str(toy), ("qwen3", 2, 64, VOCABULARY_TOKENS))
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(toy)
    apart = attach_adapter(loader.load(), folder)
    tolerance = 1e-3 if load_in_4bit else 0.0
    assert torch.allclose(logits(apart), expected, atol=tolerance, rtol=0)
    again = loader.with_adapter(loader.load(), folder)
    assert not again.model.training
    tolerance = 1e-3 if load_in_4bit else 1e-5
    assert torch.allclose(logits(again), expected, atol=tolerance, rtol=0)
    trainable = attach_adapter(loader.load(), folder, is_trainable=True)
    assert any(item.requires_grad for item in trainable.model.parameters())


def test_control_tokens_are_trained_alone(toy: Path, tmp_path: Path) -> None:
    import torch

    loader = toy_loader(toy, train_control_tokens=True)
    ids = [int(rows()[0, 3]), int(rows()[1, 4])]
    loaded = loader.for_training(loader.load(), control_token_ids=ids)
    step(loaded)
    names = [
        name
        for name, item in loaded.model.named_parameters()
        if item.requires_grad and "lora_" not in name
    ]
    assert len(names) == 1
    assert loaded.model.get_parameter(names[0]).shape == (len(set(ids)), 64)
    expected = logits(loaded)
    folder = save_adapter(loaded, tmp_path / "adapter")
    again = loader.with_adapter(loader.load(), folder)
    assert torch.allclose(logits(again), expected, atol=1e-6)
    with pytest.raises(ConflictingSettingsError, match="no control tokens"):
        loader.for_training(loader.load())


def test_adapter_of_another_shape_or_base_is_refused(toy: Path, tmp_path: Path) -> None:
    loader = toy_loader(toy)
    folder = save_adapter(loader.for_training(loader.load()), tmp_path / "adapter")
    other = toy_loader(write_toy_model(tmp_path / "other", hidden_size=32))
    with pytest.raises(AdapterMismatchError, match="qwen3', 2, 64") as caught:
        other.with_adapter(other.load(), folder)
    assert caught.value.hint == f"Load the right base: --model {toy}"
    record = json.loads((folder / "fim_adapter.json").read_text())
    (folder / "fim_adapter.json").write_text(json.dumps({**record, "base": "org/other"}))
    with pytest.raises(AdapterMismatchError, match="org/other"):
        loader.with_adapter(loader.load(), folder)


def test_foreign_adapter_is_checked_by_its_weights(toy: Path, tmp_path: Path) -> None:
    loader = toy_loader(toy)
    folder = save_adapter(loader.for_training(loader.load()), tmp_path / "adapter")
    (folder / "fim_adapter.json").unlink()
    loader.with_adapter(loader.load(), folder)
    other = toy_loader(write_toy_model(tmp_path / "other", hidden_size=32))
    with pytest.raises(AdapterMismatchError, match="does not fit"):
        other.with_adapter(other.load(), folder)


def test_incomplete_adapter_is_refused(toy: Path, tmp_path: Path) -> None:
    loader = toy_loader(toy)
    folder = save_adapter(loader.for_training(loader.load()), tmp_path / "adapter")
    few = toy_loader(toy, target_modules=["q_proj"])
    part = save_adapter(few.for_training(few.load()), tmp_path / "part")
    shutil.copy(part / "adapter_model.safetensors", folder)
    with pytest.raises(AdapterMismatchError, match="missing adapter keys"):
        loader.with_adapter(loader.load(), folder)
    (folder / "adapter_model.safetensors").write_bytes(b"torn")
    with pytest.raises(AdapterMismatchError, match="does not fit"):
        loader.with_adapter(loader.load(), folder)
    record = folder / "fim_adapter.json"
    record.write_text("{torn")
    with pytest.raises(AdapterMismatchError, match="cannot be read"):
        loader.with_adapter(loader.load(), folder)
    record.write_text("{}")
    with pytest.raises(AdapterMismatchError, match="is damaged"):
        loader.with_adapter(loader.load(), folder)
    (folder / "adapter_config.json").write_text("[]")
    (folder / "fim_adapter.json").unlink()
    with pytest.raises(AdapterMismatchError, match="not a JSON object"):
        loader.with_adapter(loader.load(), folder)
    (folder / "adapter_config.json").unlink()
    with pytest.raises(ModelNotFoundError, match="no adapter to load"):
        loader.with_adapter(loader.load(), folder)


def test_projections_that_the_model_lacks(toy: Path) -> None:
    loader = toy_loader(toy, target_modules=["w_nothing"])
    with pytest.raises(ModelError, match="LoRA finds no place"):
        loader.for_training(loader.load())


def test_damaged_model_folders(toy: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(toy, folder)
    (folder / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match="cannot be loaded"):
        toy_loader(folder).load()
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match=r"weights of .* cannot be read"):
        toy_loader(folder).load()
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text("{torn")
    with pytest.raises(ModelNotFoundError, match=r"tokenizer of .* cannot be read"):
        toy_loader(folder).tokenizer()


def test_tokenizer_folder_needs_no_model(toy: Path, tmp_path: Path) -> None:
    shutil.copy(toy / "tokenizer.json", tmp_path)
    shutil.copy(toy / "tokenizer_config.json", tmp_path)
    assert toy_loader(tmp_path).tokenizer()("t9")["input_ids"] == [9]
    with pytest.raises(ModelNotFoundError, match=r"no config\.json"):
        toy_loader(tmp_path).load()
