"""The contract of ``fim.model``: ``ModelLoader`` loads a base, puts LoRA on it, or an adapter."""

from __future__ import annotations

from pathlib import Path

import pytest

from fim.config import HfSettings, LoraSettings, ModelSettings
from fim.errors import NoAcceleratorError
from fim.model import Hardware, ModelLoader, save_adapter
from model_toys import CPU, write_toy_model


def loader(name: str, **changes: object) -> ModelLoader:
    return ModelLoader(
        model=ModelSettings.model_validate({"name": name, "load_in_4bit": False, **changes}),
        lora=LoraSettings(r=4),
        hf=HfSettings(),
        hardware=CPU,
    )


def test_a_base_gets_trainable_matrices_and_an_adapter_comes_back(tmp_path: Path) -> None:
    made = loader(str(write_toy_model(tmp_path / "toy")), dtype="float32")
    trained = made.for_training(made.load(is_training=True))
    names = [name for name, each in trained.model.named_parameters() if each.requires_grad]
    assert names
    assert all("lora_" in name for name in names)
    folder = save_adapter(trained, tmp_path / "adapter")
    answering = made.with_adapter(made.load(), folder)
    assert answering.backend == "transformers"
    assert not answering.model.training


@pytest.mark.parametrize(
    ("hardware", "dtype"),
    [
        (Hardware("cuda", has_bfloat16=True), "bfloat16"),
        (Hardware("cuda"), "float16"),
        (Hardware("cpu"), "float32"),
    ],
)
def test_the_number_type_follows_the_machine(hardware: Hardware, dtype: str) -> None:
    from fim.model import choose_dtype

    assert choose_dtype(None, hardware).name == dtype


def test_the_default_model_needs_a_gpu_and_says_what_works_without() -> None:
    made = ModelLoader(
        model=ModelSettings(), lora=LoraSettings(), hf=HfSettings(), hardware=Hardware("cpu")
    )
    with pytest.raises(NoAcceleratorError, match="CUDA GPU") as caught:
        made.check()
    assert "FIM_PRESET=cpu" in caught.value.hint
