"""The fast backend: Unsloth on CUDA. The only module that imports unsloth.

Unsloth rewrites trl, peft and transformers when it is imported, so it must come first; imported
late it only warns and leaves them slow and unpatched. Here that is an error.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fim.config import cache_folder
from fim.errors import ConflictingSettingsError, ModelError, SetupError
from fim.model.failures import LIBRARY_FAILURES, first_line, loading_failures
from fim.model.hardware import torch_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from transformers import Cache, PreTrainedModel
    from transformers.utils.generic import ModelOutput

    from fim.config import LoraSettings, ModelSettings
    from fim.model.source import ModelSource

MINIMUM_VERSION = "2026.10.7"
_PATCHED_LIBRARIES = ("trl", "peft", "transformers")
_OWN_VARIABLES = "UNSLOTH_"
_DECODING_BUFFERS = ("paged_attention", "paged_attention_K", "paged_attention_V")


def import_unsloth() -> ModuleType:
    """Import unsloth before the libraries that it patches, without statistics and litter.

    Its counters are switched off, the code that it generates goes to fim's cache, and variables of
    other libraries are as they were afterwards.

    Raises:
        SetupError: One of them was imported earlier in this process, or unsloth cannot be imported.
    """
    if "unsloth" in sys.modules:
        return sys.modules["unsloth"]
    early = [name for name in _PATCHED_LIBRARIES if name in sys.modules]
    if early:
        raise SetupError(
            f"{', '.join(early)} was imported before unsloth, which can then no longer patch "
            "it: training would run slow and unpatched.",
            hint="Make the ModelLoader and call its check() before importing these, or set "
            "FIM_MODEL_BACKEND=transformers",
            context={"imported": early},
        )
    with environment_kept():
        os.environ["UNSLOTH_DISABLE_STATISTICS"] = "1"
        os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(_code_folder()))
        try:
            return importlib.import_module("unsloth")
        except LIBRARY_FAILURES as error:
            raise SetupError(
                f"Unsloth is installed and cannot be imported: {first_line(error)}",
                hint="`fim doctor` looks at driver and packages; the tested versions are those of "
                "constraints/gpu.txt. FIM_MODEL_BACKEND=transformers trains without Unsloth.",
                context={"failure": type(error).__name__},
            ) from error


@contextmanager
def environment_kept() -> Iterator[None]:
    """Give the process its variables back, but for those of Unsloth itself."""
    kept = dict(os.environ)
    try:
        yield
    finally:
        for name in [each for each in os.environ if not each.startswith(_OWN_VARIABLES)]:
            if name not in kept:
                del os.environ[name]
        os.environ.update({name: kept[name] for name in kept if os.environ.get(name) != kept[name]})


def _code_folder() -> Path:
    """Return where generated code is kept: fim's cache, or a temporary folder."""
    folder = cache_folder().expanduser() / "unsloth"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return Path(tempfile.mkdtemp(prefix="fim-unsloth-"))
    return folder.resolve()


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
    source: ModelSource, settings: ModelSettings, lora: LoraSettings, *, dtype: str, seed: int
) -> PreTrainedModel:
    """Load a model through ``FastLanguageModel.from_pretrained``; its tokenizer is not used.

    Unsloth gets a folder and nothing of the hub: it would store a token on this machine.

    Raises:
        ModelNotFoundError: The files are missing or cannot be read.
        ModelError: Unsloth cannot load this model.
        NotEnoughMemoryError: The model does not fit the memory.
        SetupError: unsloth is imported too late, or cannot be.
        ConflictingSettingsError: Tokens are to be added, which unsloth cannot train.
    """
    if settings.add_tokens:
        raise ConflictingSettingsError(
            "model.add_tokens is on; the unsloth backend cannot train the rows of added tokens, so "
            "the model would never learn them.",
            hint="FIM_MODEL_BACKEND=transformers, or a base that has fill-in-the-middle tokens",
        )
    unsloth = import_unsloth()
    with loading_failures(source, dtype=dtype), environment_kept():
        model, _ = unsloth.FastLanguageModel.from_pretrained(
            model_name=source.location,
            max_seq_length=settings.max_seq_length,
            dtype=torch_dtype(dtype),
            load_in_4bit=settings.load_in_4bit,
            full_finetuning=settings.full_finetuning,
            use_gradient_checkpointing=_checkpointing(lora),
            use_exact_model_name=True,
            local_files_only=True,
            trust_remote_code=False,
            random_state=seed,
        )
    return cast("PreTrainedModel", model)


def attach_lora(
    model: PreTrainedModel, settings: ModelSettings, lora: LoraSettings, *, seed: int
) -> PreTrainedModel:
    """Put trainable LoRA matrices on a model through ``FastLanguageModel.get_peft_model``.

    Raises:
        ConflictingSettingsError: Control tokens shall be trained, which unsloth cannot.
        ModelError: The matrices find no place.
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
    try:
        with environment_kept():
            adapted = unsloth.FastLanguageModel.get_peft_model(
                model,
                r=lora.r,
                target_modules=list(lora.target_modules),
                lora_alpha=lora.alpha,
                lora_dropout=lora.dropout,
                bias=lora.bias,
                use_rslora=lora.use_rslora,
                use_dora=lora.use_dora,
                use_gradient_checkpointing=_checkpointing(lora),
                random_state=seed,
                max_seq_length=settings.max_seq_length,
            )
    except LIBRARY_FAILURES as error:
        raise ModelError(
            f"Unsloth cannot put LoRA matrices on this model: {first_line(error)}",
            hint="Check lora.target_modules, or set FIM_MODEL_BACKEND=transformers",
            context={"target_modules": list(lora.target_modules)},
        ) from error
    return cast("PreTrainedModel", adapted)


@contextmanager
def generating(model: PreTrainedModel) -> Iterator[None]:
    """Let a model that is being trained complete holes for a while, as transformers would.

    Unsloth's forward leaves the cache that it is handed alone and returns keys and values of its
    own; its one-token forward keeps them in buffers of a batch that may be over. Here what it
    returns is written into the cache, and the buffers are dropped before each call.

    Args:
        model: A model of Unsloth, with or without an adapter.

    Raises:
        SetupError: unsloth is imported too late.
    """
    fast = import_unsloth().FastLanguageModel
    fast.for_inference(model)
    original = model.forward

    def forward(*args: object, **kwargs: object) -> ModelOutput:
        cache = cast("Cache | None", kwargs.get("past_key_values"))
        if cache is None:
            return cast("ModelOutput", original(*args, **kwargs))
        _drop_buffers(model)
        length = cache.get_seq_length()
        output = cast("ModelOutput", original(*args, **{**kwargs, "return_dict": True}))
        returned = output["past_key_values"]
        if returned is not cache:
            for layer, (keys, values) in enumerate(returned):
                cache.update(keys[:, :, length:], values[:, :, length:], layer)
            output["past_key_values"] = cache
        return output

    had_own = "forward" in model.__dict__
    model.forward = forward
    try:
        yield
    finally:
        if had_own:
            model.forward = original
        else:
            del model.forward
        _drop_buffers(model)
        fast.for_training(model)


def _drop_buffers(model: PreTrainedModel) -> None:
    """Forget the keys and values of Unsloth's one-token forward."""
    for module in model.modules():
        for name in _DECODING_BUFFERS:
            module.__dict__.pop(name, None)


def _checkpointing(lora: LoraSettings) -> str | bool:
    return "unsloth" if lora.gradient_checkpointing else False
