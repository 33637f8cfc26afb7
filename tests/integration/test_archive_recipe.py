"""The one-file recipe runs on the CPU and tells what it measured."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).resolve().parents[2] / "archive" / "fill-in-the-middle-fine-tune.py"
CHAT_TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|end|>\n{% endfor %}"
)


def _write_tiny_model(folder: Path) -> None:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {char: index for index, char in enumerate(alphabet)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token="<|end|>", pad_token="<|pad|>"
    )
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|turn|>"]})
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=512,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)


def _write_examples(path: Path, num_examples: int) -> None:
    rows = [
        {
            "prefix": f"def add_{index}(a, b):\n    return ",
            "middle": "a + b",
            "suffix": "\n\n\nprint('done')\n",
            "context_items": [{"text": "import math"}, "import os"],
            "lang": "Python",
        }
        for index in range(num_examples)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _run_in_a_process(*arguments: str) -> dict[str, object]:
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "2"}
    result = subprocess.run(
        [sys.executable, str(RECIPE), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **offline},
        check=False,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    summary: dict[str, object] = json.loads(result.stdout.strip().splitlines()[-1])
    return summary


@pytest.mark.filterwarnings("ignore")
def test_two_steps_on_a_tiny_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data, out = tmp_path / "model", tmp_path / "holes.jsonl", tmp_path / "out"
    _write_tiny_model(model)
    _write_examples(data, 6)

    arguments = [f"--data={data}", f"--model={model}", f"--out={out}"]
    arguments += ["--max-steps=2", "--max-length=128", "--batch-size=2", "--accumulation=1"]
    monkeypatch.setattr(sys, "argv", [str(RECIPE), *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(RECIPE), run_name="__main__")
    assert ended.value.code == 0
    summary = json.loads(capsys.readouterr().out.strip().splitlines()[-1])

    assert summary["steps"] == 2
    assert summary["tokens"] == 2 * 2 * 128
    assert summary["examples"] == 6
    assert isinstance(summary["train_loss"], float)
    assert 0 < summary["train_loss"] < 20
    assert isinstance(summary["tokens_per_second"], float)
    assert summary["tokens_per_second"] > 0
    assert isinstance(summary["peak_memory_mib"], float)
    assert summary["peak_memory_mib"] > 50
    assert (out / "adapter_model.safetensors").is_file()


def test_imports_nothing_of_the_package() -> None:
    source = RECIPE.read_text(encoding="utf-8")

    assert "import fim" not in source
    assert "from fim" not in source


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_step_on_the_embedded_model(tmp_path: Path) -> None:
    from fim.model import ensure_embedded_model

    folder = ensure_embedded_model()
    gguf = next(folder.glob("*.gguf"))
    data, out = tmp_path / "holes.jsonl", tmp_path / "out"
    _write_examples(data, 2)

    summary = _run_in_a_process(
        f"--data={data}",
        f"--model={folder}",
        f"--gguf-file={gguf.name}",
        f"--out={out}",
        "--max-steps=1",
        "--accumulation=1",
        "--max-length=256",
    )

    assert summary["steps"] == 1
    assert isinstance(summary["train_loss"], float)
    assert 0 < summary["train_loss"] < 6
