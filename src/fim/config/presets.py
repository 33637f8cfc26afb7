"""Presets: one word that sets what a class of machines needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

EMBEDDED_MODEL_NAME = "embedded/SmolLM2-135M-Instruct"
ANCHORED_FORMATS = frozenset({"psm", "repo", "infill", "chatml-native"})
UNALIGNED_FORMATS = frozenset({"chatml", "spm"})
EMBEDDED_CORPUS_NAME = "embedded/python-standard-library"


@dataclass(frozen=True, slots=True)
class Preset:
    """A named set of values.

    Args:
        name: What ``FIM_PRESET`` and ``--preset`` take.
        description: The machine it is for.
        memory: Memory it needs, with the word ``estimated`` where nobody measured it.
        speed: Speed it reaches, likewise.
        min_vram_mib: Least memory of the accelerator; 0 when none is needed.
        values: Values by dotted key.
    """

    name: str
    description: str
    memory: str
    speed: str
    min_vram_mib: int
    values: Mapping[str, object]

    @property
    def summary(self) -> str:
        """Name, machine, memory and speed in one line."""
        return f"{self.name}: {self.description} Memory: {self.memory}; speed: {self.speed}."


_QLORA: Mapping[str, object] = {
    "model.name": "unsloth/Qwen3-8B-bnb-4bit",
    "model.load_in_4bit": True,
    "data.format": "psm",
    "data.anchor_lines": 4,
    "data.align_cuts": True,
    "data.enable_response_masking": True,
    "data.character_cut_share": 0.1,
    "data.empty_middle_share": 0.03,
    "infer.token_healing": True,
    "train.learning_rate": 2e-4,
    "train.optim": "adamw_8bit",
}

_PRESETS = (
    Preset(
        name="cpu",
        description="No accelerator: the embedded SmolLM2-135M on Python's standard library.",
        memory="up to 7.6 GiB, measured in quickstart",
        speed="measured: 3.7 holes per second on 2 cores with AMX, 0.7 on 2 without bfloat16",
        min_vram_mib=0,
        values={
            "model.name": EMBEDDED_MODEL_NAME,
            "model.load_in_4bit": False,
            "model.backend": "transformers",
            "model.max_seq_length": 288,
            "lora.r": 16,
            "lora.alpha": 32,
            "lora.gradient_checkpointing": False,
            "data.dataset_name": EMBEDDED_CORPUS_NAME,
            "data.format": "psm",
            "data.anchor_lines": 4,
            "data.align_cuts": True,
            "data.prompt_loss_share": 0.08,
            "data.fim_rate": 1.0,
            "data.enable_response_masking": True,
            "data.middle_reserve_tokens": 96,
            "data.prefix_share": 0.65,
            "corpus.context_items": 0,
            "corpus.held_out_fraction": 0.2,
            "train.per_device_train_batch_size": 10,
            "train.gradient_accumulation_steps": 1,
            "train.learning_rate": 1e-3,
            "train.optim": "adamw_torch",
            "train.max_minutes": 5.0,
            "infer.max_new_tokens": 64,
            "infer.stop": "block",
            "eval.num_holes": 480,
            "eval.batch_size": 48,
            "eval.max_new_tokens": 64,
        },
    ),
    Preset(
        name="8gb",
        description="A GPU with 8 GB: Qwen3-4B in 4 bit, the largest Qwen3 that fits.",
        memory="estimated 5.4 GiB of GPU memory",
        speed="estimated, no figure yet",
        min_vram_mib=7_600,
        values={
            **_QLORA,
            "model.name": "unsloth/Qwen3-4B-bnb-4bit",
            "model.max_seq_length": 2048,
            "train.optim": "paged_adamw_8bit",
            "train.per_device_train_batch_size": 1,
            "train.per_device_eval_batch_size": 1,
            "train.gradient_accumulation_steps": 16,
        },
    ),
    Preset(
        name="t4",
        description="A Tesla T4 or another 16 GB GPU without bfloat16: Qwen3-8B in 4 bit.",
        memory="estimated 9.1 GiB of GPU memory",
        speed="estimated, no figure yet",
        min_vram_mib=14_500,
        values={
            **_QLORA,
            "model.max_seq_length": 2048,
            "model.dtype": "float16",
            "train.per_device_train_batch_size": 1,
            "train.per_device_eval_batch_size": 2,
            "train.gradient_accumulation_steps": 16,
        },
    ),
    Preset(
        name="24gb",
        description="A GPU with 24 GB: Qwen3-8B in 4 bit, longer rows.",
        memory="estimated 13.9 GiB of GPU memory",
        speed="estimated 2,400 tokens per second on an RTX 4090",
        min_vram_mib=22_000,
        values={
            **_QLORA,
            "model.max_seq_length": 4096,
            "train.per_device_train_batch_size": 2,
            "train.per_device_eval_batch_size": 4,
            "train.gradient_accumulation_steps": 8,
        },
    ),
    Preset(
        name="80gb",
        description="A GPU with 80 GB: Qwen3-8B in 16 bit, long rows.",
        memory="estimated 66.8 GiB of GPU memory",
        speed="estimated, no figure yet",
        min_vram_mib=75_000,
        values={
            **_QLORA,
            "model.name": "unsloth/Qwen3-8B",
            "model.load_in_4bit": False,
            "model.dtype": "bfloat16",
            "model.max_seq_length": 8192,
            "train.optim": "adamw_torch_fused",
            "train.per_device_train_batch_size": 8,
            "train.gradient_accumulation_steps": 5,
        },
    ),
)

PRESETS: Mapping[str, Preset] = MappingProxyType({preset.name: preset for preset in _PRESETS})


def preset_for(vram_mib: int, *, has_bfloat16: bool) -> Preset:
    """Return the largest preset that fits an accelerator; 0 MiB means none."""
    fitting = [preset for preset in _PRESETS if preset.min_vram_mib <= vram_mib]
    best = max(fitting, key=lambda preset: preset.min_vram_mib)
    needs_bfloat16 = best.name in {"24gb", "80gb"}
    return PRESETS["t4"] if needs_bfloat16 and not has_bfloat16 else best
