"""A tiny random Qwen3 on disk, and settings that name it."""

from __future__ import annotations

import json
from pathlib import Path

from fim.config import HfSettings, LoraSettings, ModelSettings
from fim.model import Hardware, ModelLoader

VOCABULARY_TOKENS = 512
CPU = Hardware(accelerator="cpu", has_bfloat16=False, num_cores=2)


def write_toy_model(
    folder: Path, *, hidden_size: int = 64, seed: int = 0, is_tied: bool = True
) -> Path:
    """Write a 2-layer random Qwen3, with tied embeddings unless told else, and a tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=VOCABULARY_TOKENS,
                hidden_size=hidden_size,
                intermediate_size=128,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=16,
                max_position_embeddings=256,
                tie_word_embeddings=is_tied,
            )
        )
    model.save_pretrained(folder)
    vocabulary = {f"t{index}": index for index in range(VOCABULARY_TOKENS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="t0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="t1").save_pretrained(folder)
    return folder


def write_varied_model(folder: Path) -> Path:
    """Write a toy model whose next token depends on all that it has read, by a clear margin."""
    import torch
    from transformers import Qwen3ForCausalLM

    write_toy_model(folder, is_tied=False)
    model = Qwen3ForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.mul_(20 if "embed" in name else 8)
    model.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "pad_token": "t0"}))
    return folder


def toy_loader(
    folder: Path | str,
    *,
    load_in_4bit: bool = False,
    dtype: str = "float32",
    add_tokens: bool = False,
    full_finetuning: bool = False,
    **lora: object,
) -> ModelLoader:
    """Return a loader of a toy folder on the CPU."""
    return ModelLoader(
        model=ModelSettings.model_validate(
            {
                "name": str(folder),
                "load_in_4bit": load_in_4bit,
                "dtype": dtype,
                "add_tokens": add_tokens,
                "full_finetuning": full_finetuning,
            }
        ),
        lora=LoraSettings.model_validate({"r": 4, "gradient_checkpointing": False, **lora}),
        hf=HfSettings(),
        hardware=CPU,
    )
