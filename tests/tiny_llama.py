"""A tiny random Llama with SmolLM2's tokenizer, and holes that it can be trained on."""

from __future__ import annotations

import json
from pathlib import Path

LINES = (
    "def add(a, b):\n    return a + b\n",
    "def first(xs):\n    return xs[0]\n",
    "def last(xs):\n    return xs[-1]\n",
    "def none():\n    return None\n",
)


def write_tiny_llama(folder: Path, tokenizer: object) -> Path:
    """Write a 2-layer random Llama."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=49152,
                hidden_size=32,
                intermediate_size=48,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                tie_word_embeddings=True,
            )
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)  # type: ignore[attr-defined]
    return folder


def write_holes(path: Path, num_holes: int = 40) -> Path:
    """Write examples as a JSONL of the published schema."""
    with path.open("w", encoding="utf-8") as stream:
        for number in range(num_holes):
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


def tiny_settings(model: Path, holes: Path, **more: str) -> dict[str, str]:
    """Return the environment of a run on both."""
    return {
        "FIM_PRESET": "cpu",
        "FIM_MODEL_NAME": str(model),
        "FIM_MODEL_DTYPE": "float32",
        "FIM_DATA_PATH": str(holes),
        "FIM_TRAIN_MAX_STEPS": "2",
        "FIM_TRAIN_PER_DEVICE_TRAIN_BATCH_SIZE": "4",
        **more,
    }
