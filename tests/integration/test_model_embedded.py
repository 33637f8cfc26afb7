from __future__ import annotations

import logging
import shutil
from pathlib import Path

import pytest

from fim.config import EMBEDDED_MODEL_NAME, HfSettings, LoraSettings, ModelSettings
from fim.errors import EmbeddedModelError
from fim.model import LoadedModel, ModelLoader, loader, prepared, save_adapter
from model_toys import CPU

NUM_TOKENS = 256 + 5


def write_toy_gguf(path: Path) -> None:
    """Write a 1-layer random llama with a byte-level tokenizer and no head of its own."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    width, inner = 64, 96
    writer = GGUFWriter(str(path), "llama")
    writer.add_block_count(1)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(NUM_TOKENS)
    tokens = ["<c0>", "<c1>", "<c2>", *bytes_to_unicode().values(), "ab", "aba"]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (NUM_TOKENS - 3)])
    writer.add_token_merges(["a b", "ab a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    generator = np.random.default_rng(0)
    shapes = {
        "token_embd": (NUM_TOKENS, width),
        "blk.0.attn_q": (width, width),
        "blk.0.attn_k": (width // 2, width),
        "blk.0.attn_v": (width // 2, width),
        "blk.0.attn_output": (width, width),
        "blk.0.ffn_gate": (inner, width),
        "blk.0.ffn_up": (inner, width),
        "blk.0.ffn_down": (width, inner),
    }
    kind = GGMLQuantizationType.Q4_1
    for name, shape in shapes.items():
        values = generator.normal(0, 0.1, shape).astype(np.float32)
        writer.add_tensor(f"{name}.weight", quantize(values, kind), raw_dtype=kind)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(width, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cache = tmp_path / "cache"
    cache.mkdir()
    write_toy_gguf(cache / "toy.gguf")
    monkeypatch.setattr(loader, "ensure_embedded_model", lambda _: cache)
    return cache


def make_loader(dtype: str = "float32") -> ModelLoader:
    return ModelLoader(
        model=ModelSettings.model_validate(
            {"name": EMBEDDED_MODEL_NAME, "load_in_4bit": False, "dtype": dtype}
        ),
        lora=LoraSettings.model_validate({"r": 2, "gradient_checkpointing": False}),
        hf=HfSettings(),
        hardware=CPU,
    )


def logits(loaded: LoadedModel) -> list[float]:
    import torch

    with torch.no_grad():
        return loaded.model(input_ids=torch.tensor([[5, 6, 7]])).logits[0, -1].tolist()


def test_gguf_is_dequantised_once_and_loaded_with_a_tied_head(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logging.getLogger("fim"), "handlers", [])
    loaded = make_loader().load()
    assert capfd.readouterr() == ("", "")
    model = loaded.model
    assert (loaded.name, loaded.dtype) == (EMBEDDED_MODEL_NAME, "float32")
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.config._name_or_path == EMBEDDED_MODEL_NAME
    assert loaded.tokenizer.decode(loaded.tokenizer("abc ü")["input_ids"]) == "abc ü"
    first = logits(loaded)
    monkeypatch.setattr(prepared, "_read_model", None)
    monkeypatch.setattr(prepared, "_read_tokenizer", None)
    assert logits(make_loader().load()) == first
    written = {path.name for path in folder.iterdir()}
    assert {name.split("-")[0] for name in written} == {".lock", "toy.gguf", "float32"}


def test_the_tokenizer_gives_every_text_back(folder: Path) -> None:
    tokenizer = make_loader().tokenizer()
    for text in ("\u2581 x", "a b\u2581", "caf\u00e9 \u2603\n\t", "  def"):
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.decode(ids) == text


def test_each_dtype_has_its_own_weights(folder: Path) -> None:
    import torch

    exact, rounded = make_loader().load(), make_loader("bfloat16").load()
    assert rounded.model.dtype is torch.bfloat16
    ours = exact.model.get_input_embeddings().weight
    theirs = rounded.model.get_input_embeddings().weight
    assert torch.equal(ours.bfloat16(), theirs)
    assert not torch.equal(ours, theirs.float())
    assert len(list(folder.glob("*-transformers-*"))) == 2


def test_tokenizer_alone_prepares_no_weights_and_keeps_no_paths(folder: Path) -> None:
    tokenizer = make_loader().tokenizer()
    assert tokenizer.convert_tokens_to_ids("<c1>") == 1
    made = [path for path in folder.iterdir() if path.is_dir()]
    assert [path.name.split("-")[0] for path in made] == ["tokenizer"]
    assert not list(made[0].glob("*.safetensors"))
    told = (made[0] / "tokenizer_config.json").read_text()
    assert "is_local" not in told
    assert str(folder.parent) not in told


def test_damaged_prepared_folder_is_built_again(folder: Path) -> None:
    first = logits(make_loader().load())
    weights = next(folder.glob("float32-*/model.safetensors"))
    weights.write_bytes(b"torn")
    assert logits(make_loader().load()) == first
    shutil.rmtree(weights.parent / "fim_prepared.json", ignore_errors=True)
    (weights.parent / "fim_prepared.json").write_text("{torn")
    assert logits(make_loader().load()) == first


def test_adapter_names_the_embedded_model_and_no_folder(folder: Path, tmp_path: Path) -> None:
    made = make_loader()
    adapter = save_adapter(made.for_training(made.load()), tmp_path / "adapter")
    for path in adapter.glob("*.json"):
        assert str(folder) not in path.read_text()
        assert EMBEDDED_MODEL_NAME in path.read_text()
    made.with_adapter(made.load(), adapter)


def test_what_is_read_must_be_a_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    monkeypatch.setattr(
        transformers.AutoModelForCausalLM, "from_pretrained", lambda *_, **__: object()
    )
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda *_, **__: object())
    with pytest.raises(EmbeddedModelError, match="is read as"):
        prepared.prepare_weights(folder, "float32")
    with pytest.raises(EmbeddedModelError, match="is read as"):
        prepared.prepare_tokenizer(folder)


@pytest.mark.e2e
def test_the_real_embedded_model_continues_code() -> None:
    import torch

    made = ModelLoader(
        model=ModelSettings(name=EMBEDDED_MODEL_NAME, load_in_4bit=False),
        lora=LoraSettings(),
        hf=HfSettings(),
    )
    made.check()
    loaded = made.load()
    ids = torch.tensor([loaded.tokenizer("def add(a, b):\n    return a")["input_ids"]])
    with torch.no_grad():
        answer = int(loaded.model(input_ids=ids).logits[0, -1].argmax())
    assert loaded.tokenizer.decode([answer]) == " +"
