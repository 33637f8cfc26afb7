"""A tiny model with a real tokenizer, rows of code, and the environment of a run over both."""

from __future__ import annotations

import json
from pathlib import Path

LINES = (
    "def add(a, b):\n    return a + b\n",
    "def first(xs):\n    return xs[0]\n",
    "def last(xs):\n    return xs[-1]\n",
    "def none():\n    return None\n",
)
SHORT = {"FIM_TRAIN_MAX_STEPS": "2", "FIM_TRAIN_PER_DEVICE_TRAIN_BATCH_SIZE": "4"}


def write_tiny_model(folder: Path, tokenizer: object) -> Path:
    """Write a 2-layer random Llama with a tokenizer of SmolLM2's size."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder


def write_rows(path: Path, num_rows: int = 40) -> Path:
    """Write examples in the schema of the published data set."""
    with path.open("w", encoding="utf-8") as stream:
        for number in range(num_rows):
            text = LINES[number % 4].replace("xs", f"xs{number}").replace("(a", f"(a{number}, a")
            cut = text.index("return") + 3
            row = {
                "prefix": f"import m{number}\n\n\n{text[:cut]}",
                "middle": text[cut:-1],
                "suffix": f"\n\n\nx{number} = {number}\n",
                "context_items": [],
                "lang": "Python",
            }
            stream.write(json.dumps(row) + "\n")
    return path


def environment(model: Path, rows: Path, **more: str) -> dict[str, str]:
    """Return the variables of a short run."""
    return {
        "FIM_PRESET": "cpu",
        "FIM_MODEL_NAME": str(model),
        "FIM_DATA_PATH": str(rows),
        "FIM_MODEL_DTYPE": "float32",
        "FIM_TRAIN_MAX_STEPS": "4",
        "FIM_TRAIN_SAVE_STEPS": "2",
        "FIM_TRAIN_EVAL_STEPS": "2",
        "FIM_INFER_MAX_NEW_TOKENS": "8",
        "FIM_LORA_R": "4",
        **more,
    }
