#!/usr/bin/env python3
r"""Fine-tune a chat model to fill in the middle as many first scripts do: a baseline, on purpose.

One file, no import from ``fim``: examples become chat-template strings, strings are cut on the
right and padded, the loss covers the whole sequence, TRL's SFTTrainer trains a LoRA adapter. What
is known to be wrong with that is left in, because benchmarks and tests measure against it:

* the answer stands last, so cutting on the right takes the answer away first;
* most of the loss goes to the prompt and the surrounding code, not to the middle;
* every hole repeats its whole prefix and context, and short rows are padded to the longest;
* control tokens spelled in user code become control tokens, and the template may strip whitespace.

Use ``fim train`` for real work.

Input is a JSONL with ``prefix, suffix, middle`` and, where known, ``context_items`` and ``lang``.
The last line on stdout is a JSON object: steps, seconds, train_loss, tokens_per_second,
peak_memory_mib and what they were measured with.

    python archive/fill-in-the-middle-fine-tune.py --data holes.jsonl --out out \
        --model Qwen/Qwen3-0.6B
    python archive/fill-in-the-middle-fine-tune.py --data holes.jsonl --model FOLDER \
        --gguf-file SmolLM2-135M-Instruct.Q4_1.gguf --out out --max-steps 20
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GgufConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    set_seed,
)
from trl import SFTConfig, SFTTrainer

SYSTEM = "You are a code completion assistant. Fill in the missing code between prefix and suffix."
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="JSONL of examples")
    parser.add_argument("--model", required=True, help="hub name or folder of a chat model")
    parser.add_argument("--gguf-file", help="name of a GGUF file in --model, loaded dequantised")
    parser.add_argument("--out", type=Path, required=True, help="folder for the adapter")
    parser.add_argument("--max-steps", type=int, default=-1, help="optimizer steps; -1: one epoch")
    parser.add_argument("--max-length", type=int, default=2048, help="tokens kept of a row")
    parser.add_argument("--max-examples", type=int, help="take only the first N examples")
    parser.add_argument("--batch-size", type=int, default=1, help="rows in a batch")
    parser.add_argument("--accumulation", type=int, default=4, help="batches in a step")
    parser.add_argument("--learning-rate", type=float, default=1e-5)
    parser.add_argument("--lora-r", type=int, default=16)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument(
        "--optim", default="adamw_torch", help="optimizer, as transformers names it"
    )
    parser.add_argument("--seed", type=int, default=3407)
    return parser.parse_args(arguments)


def read_examples(path: Path, max_examples: int | None) -> list[dict[str, Any]]:
    """Read the JSONL, without any validation."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return rows[:max_examples]


def context_text(example: dict[str, Any]) -> str:
    """Join the context items, which are texts or objects with a text."""
    items = example.get("context_items") or []
    return "\n\n".join(item if isinstance(item, str) else item.get("text", "") for item in items)


def chat_text(example: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> str:
    """Render an example as one string with the tokenizer's chat template."""
    language = str(example.get("lang") or "").lower()
    context = context_text(example)
    question = f"Context:\n{context}\n\n" if context else ""
    question += f"Prefix:\n```{language}\n{example['prefix']}\n```\n\n"
    question += f"Suffix:\n```{language}\n{example['suffix']}\n```\n\nMissing code:"
    messages = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": question},
        {"role": "assistant", "content": f"```{language}\n{example['middle']}\n```"},
    ]
    return tokenizer.apply_chat_template(messages, tokenize=False)


def load_model(
    arguments: argparse.Namespace,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Load the model and its tokenizer, from a GGUF file where one is named."""
    named: dict[str, Any] = {"gguf_file": arguments.gguf_file} if arguments.gguf_file else {}
    tokenizer = AutoTokenizer.from_pretrained(arguments.model, **named)
    if arguments.gguf_file:
        named["quantization_config"] = GgufConfig(dequantize=True)
    dtype = getattr(torch, arguments.dtype)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=dtype, **named)
    return model, tokenizer


def peak_memory_mib() -> float:
    """Return the peak memory of this process, the accelerator's added where there is one."""
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return resident + (
        torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else 0
    )


def train(arguments: argparse.Namespace) -> dict[str, Any]:
    """Train, save the adapter, and return the measurements."""
    set_seed(arguments.seed)
    model, tokenizer = load_model(arguments)
    examples = read_examples(arguments.data, arguments.max_examples)
    texts = [chat_text(example, tokenizer) for example in examples]
    settings = SFTConfig(
        output_dir=str(arguments.out),
        dataset_text_field="text",
        max_length=arguments.max_length,
        packing=False,
        max_steps=arguments.max_steps,
        num_train_epochs=1,
        per_device_train_batch_size=arguments.batch_size,
        gradient_accumulation_steps=arguments.accumulation,
        learning_rate=arguments.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        max_grad_norm=0.5,
        optim=arguments.optim,
        bf16=False,
        fp16=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=arguments.seed,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = SFTTrainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_dict({"text": texts}),
        processing_class=tokenizer,
        peft_config=LoraConfig(
            r=arguments.lora_r,
            lora_alpha=arguments.lora_r,
            target_modules=PROJECTIONS,
            task_type="CAUSAL_LM",
        ),
    )
    start = time.perf_counter()
    result = trainer.train()
    seconds = time.perf_counter() - start
    trainer.save_model(str(arguments.out))
    tokens = max((entry.get("num_tokens", 0) for entry in trainer.state.log_history), default=0)
    steps = trainer.state.global_step
    rows = steps * arguments.batch_size * arguments.accumulation
    return {
        "steps": steps,
        "seconds": round(seconds, 3),
        "train_loss": result.training_loss,
        "tokens": int(tokens),
        "tokens_per_second": round(tokens / seconds, 3),
        "holes_per_second": round(rows / seconds, 3),
        "peak_memory_mib": round(peak_memory_mib(), 1),
        "examples": len(examples),
        "model": arguments.model,
        "dtype": arguments.dtype,
        "max_length": arguments.max_length,
        "out": str(arguments.out),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the recipe and write its measurements as one line of JSON."""
    summary = train(parse_arguments(arguments))
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
