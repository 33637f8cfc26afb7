"""The fast backend: Unsloth on CUDA. The only module that imports unsloth.

Unsloth rewrites trl, peft and transformers when it is imported, so it must come first; imported
late it only warns and leaves them slow and unpatched. Here that is an error.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, cast

from fim.errors import ConflictingSettingsError, ModelNotFoundError, SetupError
from fim.model.hardware import torch_dtype

if TYPE_CHECKING:
    from types import ModuleType

    from transformers import PreTrainedModel

    from fim.config import LoraSettings, ModelSettings
    from fim.model.source import ModelSource

MINIMUM_VERSION = "2026.10.7"
_PATCHED_LIBRARIES = ("trl", "peft", "transformers")


def import_unsloth() -> ModuleType:
    """Import unsloth before the libraries that it patches.

    Raises:
        SetupError: One of them was imported earlier in this process.
    """
    if "unsloth" not in sys.modules:
        early = [name for name in _PATCHED_LIBRARIES if name in sys.modules]
        if early:
            raise SetupError(
                f"{', '.join(early)} was imported before unsloth, which can then no longer patch "
                "it: training would run slow and unpatched.",
                hint="Make the ModelLoader and call its check() before importing these, or set "
                "FIM_MODEL_BACKEND=transformers",
                context={"imported": early},
            )
    return importlib.import_module("unsloth")


def check_patched() -> None:
    """Make sure that unsloth has replaced TRL's trainer.

    Raises:
        SetupError: TRL's trainer is the plain one.
    """
    trainer = importlib.import_module("trl").SFTTrainer
    if "unsloth" not in f"{trainer.__module__}.{trainer.__name__}".lower():
        raise SetupError(
            f"unsloth is imported, yet trl.SFTTrainer is {trainer.__module__}.{trainer.__name__}: "
            "it was not patched, training would run slow.",
            hint="Install the tested versions: pip install -r constraints/gpu.txt, or set "
            "FIM_MODEL_BACKEND=transformers",
        )


def load(
    source: ModelSource, settings: ModelSettings, *, dtype: str, token: str | None, seed: int
) -> PreTrainedModel:
    """Load a model through ``FastLanguageModel.from_pretrained``; its tokenizer is not used.

    Raises:
        ModelNotFoundError: The files are missing or cannot be read.
        SetupError: unsloth is imported too late.
        ConflictingSettingsError: Tokens are to be added, which unsloth cannot train.
    """
    if settings.add_tokens:
        raise ConflictingSettingsError(
            "model.add_tokens is on; the unsloth backend cannot train the rows of added tokens, so "
            "the model would never learn them.",
            hint="FIM_MODEL_BACKEND=transformers, or a base that has fill-in-the-middle tokens",
        )
    unsloth = import_unsloth()
    try:
        model, _ = unsloth.FastLanguageModel.from_pretrained(
            model_name=source.location,
            max_seq_length=settings.max_seq_length,
            dtype=torch_dtype(dtype),
            load_in_4bit=settings.load_in_4bit,
            full_finetuning=settings.full_finetuning,
            token=token,
            revision=source.revision,
            use_exact_model_name=True,
            trust_remote_code=False,
            random_state=seed,
        )
    except OSError as error:
        raise ModelNotFoundError(
            f"{source.name} cannot be read: {error}",
            hint="Check model.name and FIM_HF_TOKEN, or name a complete model folder.",
            context={"model": source.name, "location": source.location},
        ) from error
    return cast("PreTrainedModel", model)


def attach_lora(
    model: PreTrainedModel, settings: ModelSettings, lora: LoraSettings, *, seed: int
) -> PreTrainedModel:
    """Put trainable LoRA matrices on a model through ``FastLanguageModel.get_peft_model``.

    Raises:
        ConflictingSettingsError: Control tokens shall be trained, which unsloth cannot.
        SetupError: unsloth is imported too late or has not patched TRL.
    """
    if lora.train_control_tokens:
        raise ConflictingSettingsError(
            "lora.train_control_tokens is on; the unsloth backend cannot train single embedding "
            "rows.",
            hint="FIM_MODEL_BACKEND=transformers or FIM_LORA_TRAIN_CONTROL_TOKENS=false",
        )
    unsloth = import_unsloth()
    check_patched()
    adapted = unsloth.FastLanguageModel.get_peft_model(
        model,
        r=lora.r,
        target_modules=list(lora.target_modules),
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias=lora.bias,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        use_gradient_checkpointing="unsloth" if lora.gradient_checkpointing else False,
        random_state=seed,
        max_seq_length=settings.max_seq_length,
    )
    return cast("PreTrainedModel", adapted)


def for_inference(model: PreTrainedModel) -> PreTrainedModel:
    """Switch a model to unsloth's fast generation.

    Raises:
        SetupError: unsloth is imported too late.
    """
    return cast("PreTrainedModel", import_unsloth().FastLanguageModel.for_inference(model))


def for_training(model: PreTrainedModel) -> PreTrainedModel:
    """Switch a model back from fast generation to training.

    Raises:
        SetupError: unsloth is imported too late.
    """
    return cast("PreTrainedModel", import_unsloth().FastLanguageModel.for_training(model))
