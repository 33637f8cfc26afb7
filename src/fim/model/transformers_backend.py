"""The plain backend: transformers, PEFT and bitsandbytes, on CPU and CUDA."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, cast

from fim.errors import (
    ConflictingSettingsError,
    ModelError,
    ModelNotFoundError,
    NotEnoughMemoryError,
)
from fim.model.extension import has_own_head, head_of
from fim.model.hardware import torch_dtype
from fim.model.quiet import quiet_loading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from peft import LoraConfig
    from transformers import (
        BitsAndBytesConfig,
        PretrainedConfig,
        PreTrainedModel,
        PreTrainedTokenizerBase,
    )

    from fim.config import LoraSettings, ModelSettings
    from fim.model.source import ModelSource

_CHECKPOINTING = {"use_reentrant": False}


def quantisation_config(dtype: str) -> BitsAndBytesConfig:
    """Return 4-bit NormalFloat with double quantisation that computes in a number type.

    Source:
        Dettmers et al. 2023, arXiv:2305.14314, section 3.
    """
    import torch
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(  # type: ignore[no-untyped-call]
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch_dtype(dtype),
        bnb_4bit_quant_storage=torch.uint8,
    )


def load_tokenizer(source: ModelSource, *, token: str | None) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer, without its weights.

    Raises:
        ModelNotFoundError: The tokenizer cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        with _quiet_unless_downloading(source):
            tokenizer = AutoTokenizer.from_pretrained(
                source.location,
                revision=source.revision,
                token=token,
                local_files_only=source.is_offline,
            )
    except (OSError, ValueError) as error:
        raise _unreadable(source, "tokenizer", error) from error
    return cast("PreTrainedTokenizerBase", tokenizer)


def load_config(source: ModelSource, *, token: str | None) -> PretrainedConfig:
    """Load a model's configuration, without its weights.

    Raises:
        ModelNotFoundError: The configuration cannot be read.
    """
    from transformers import AutoConfig

    try:
        with _quiet_unless_downloading(source):
            config = AutoConfig.from_pretrained(
                source.location,
                revision=source.revision,
                token=token,
                local_files_only=source.is_offline,
            )
    except (OSError, ValueError) as error:
        raise _unreadable(source, "configuration", error) from error
    return cast("PretrainedConfig", config)


def load_model(
    source: ModelSource,
    settings: ModelSettings,
    *,
    dtype: str,
    device: str,
    token: str | None,
) -> PreTrainedModel:
    """Load a causal language model in a number type, in 4 bits where the settings ask for it.

    Args:
        source: Where the model lies.
        settings: Attention kernel and quantisation.
        dtype: Number type of the weights that are not quantised, and of computation.
        device: ``cuda`` or ``cpu``.
        token: Token of the hub.

    Raises:
        ModelNotFoundError: The files are missing or cannot be read.
        ModelError: The files are no causal language model.
        NotEnoughMemoryError: The model does not fit the memory.
    """
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    try:
        with _quiet_unless_downloading(source):
            model = AutoModelForCausalLM.from_pretrained(
                source.location,
                revision=source.revision,
                token=token,
                local_files_only=source.is_offline,
                dtype=torch_dtype(dtype),
                attn_implementation=settings.attn_implementation,
                quantization_config=quantisation_config(dtype) if settings.load_in_4bit else None,
                device_map={"": device},
            )
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise NotEnoughMemoryError(
            f"{source.name} in {dtype} does not fit the memory of this machine.",
            hint="FIM_MODEL_LOAD_IN_4BIT=true, a smaller model, or FIM_PRESET=cpu",
            context={"model": source.name, "dtype": dtype},
        ) from error
    except OSError as error:
        raise _unreadable(source, "weights", error) from error
    except (ValueError, SafetensorError) as error:
        raise ModelError(
            f"{source.name} cannot be loaded as a causal language model: {_first_line(error)}",
            hint="Check that the folder is complete and that transformers knows the architecture.",
            context={"model": source.name},
        ) from error
    if settings.load_in_4bit:
        keep_weights_trainable(model)
    model.config._name_or_path = source.name  # noqa: SLF001
    model.name_or_path = source.name
    return cast("PreTrainedModel", model)


def keep_weights_trainable(model: PreTrainedModel) -> None:
    """Keep bitsandbytes from repacking 4-bit weights on the CPU at the first evaluation.

    On CPUs with AVX512-BF16 a 4-bit layer that runs in evaluation mode rewrites its weights for a
    kernel without a backward pass, with its scales rounded. Training after any evaluation would
    then lose the gradients that pass through the base.

    Source:
        bitsandbytes 0.50.2, ``nn/modules.py``, ``Linear4bit.forward``.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False


@quiet_loading()
def attach_lora(
    model: PreTrainedModel,
    lora: LoraSettings,
    *,
    is_quantised: bool,
    control_token_ids: Sequence[int] = (),
    added_token_ids: Sequence[int] = (),
    seed: int = 3407,
) -> PreTrainedModel:
    """Freeze a model and put trainable LoRA matrices, in float32, on its projections.

    Args:
        model: The loaded base.
        lora: Rank, scale, projections, checkpointing.
        is_quantised: The base is held in 4 bits.
        control_token_ids: Embedding rows to train as well; only with ``lora.train_control_tokens``.
        added_token_ids: Rows of tokens that the base did not have; always trained, in the embedding
            and in a head of its own.
        seed: Seed of the LoRA matrices; the global generator is left as it was.

    Raises:
        ConflictingSettingsError: Control tokens shall be trained and the format has none.
        ModelError: The model has none of the projections.

    Source:
        Hu et al. 2021, arXiv:2106.09685; Dettmers et al. 2023, arXiv:2305.14314.
    """
    import torch
    from peft import get_peft_model

    config = lora_config(
        model, lora, control_token_ids=control_token_ids, added_token_ids=added_token_ids
    )
    model = _prepare(model, lora, is_quantised=is_quantised)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            adapted = get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"LoRA finds no place on this model: {_first_line(error)}",
            hint="Set lora.target_modules to projections that the model has.",
            context={"target_modules": list(lora.target_modules)},
        ) from error
    adapted.peft_config["default"].base_model_name_or_path = ""
    adapted.train()
    return cast("PreTrainedModel", adapted)


@quiet_loading()
def train_all(model: PreTrainedModel, lora: LoraSettings) -> PreTrainedModel:
    """Make every weight trainable, kept in float32 so that small updates are not rounded away.

    Training computes in the model's own number type all the same; LoRA's checkpointing counts.

    Args:
        model: The loaded base, not quantised.
        lora: Says whether activations are recomputed.
    """
    _prepare(model, lora, is_quantised=False)
    model.float()  # type: ignore[no-untyped-call]
    model.requires_grad_(requires_grad=True)
    model.train()
    return model


def lora_config(
    model: PreTrainedModel,
    lora: LoraSettings,
    *,
    control_token_ids: Sequence[int] = (),
    added_token_ids: Sequence[int] = (),
) -> LoraConfig:
    """Return PEFT's form of the LoRA settings.

    Raises:
        ConflictingSettingsError: Control tokens shall be trained and the format has none.
    """
    from peft import LoraConfig, TaskType

    if lora.train_control_tokens and not control_token_ids:
        raise ConflictingSettingsError(
            "lora.train_control_tokens is on and the format has no control tokens to train.",
            hint="FIM_LORA_TRAIN_CONTROL_TOKENS=false, or a format with control tokens: "
            "`fim formats list`",
        )
    wanted = control_token_ids if lora.train_control_tokens else ()
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        bias=lora.bias,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        target_modules=list(lora.target_modules),
        task_type=TaskType.CAUSAL_LM,
        trainable_token_indices=_trainable_rows(model, wanted, added_token_ids) or None,
    )


def _prepare(model: PreTrainedModel, lora: LoraSettings, *, is_quantised: bool) -> PreTrainedModel:
    """Make a base ready for LoRA: norms in float32 where quantised, checkpointing as asked."""
    from peft import prepare_model_for_kbit_training

    model.config.use_cache = not lora.gradient_checkpointing
    if is_quantised:
        prepared = prepare_model_for_kbit_training(  # type: ignore[no-untyped-call]
            model,
            use_gradient_checkpointing=lora.gradient_checkpointing,
            gradient_checkpointing_kwargs=_CHECKPOINTING,
        )
        return cast("PreTrainedModel", prepared)
    if lora.gradient_checkpointing:
        model.gradient_checkpointing_enable(  # type: ignore[no-untyped-call]
            gradient_checkpointing_kwargs=_CHECKPOINTING
        )
    return model


def _trainable_rows(
    model: PreTrainedModel, control_token_ids: Sequence[int], added_token_ids: Sequence[int]
) -> dict[str, list[int]]:
    """Return which rows of the embedding, and of a head of its own, are trained."""
    rows = {}
    token_ids = sorted({*control_token_ids, *added_token_ids})
    if token_ids:
        rows[_embedding_name(model)] = token_ids
    if added_token_ids and has_own_head(model):
        rows[_name_of(model, head_of(model))] = sorted(set(added_token_ids))
    return rows


def _embedding_name(model: PreTrainedModel) -> str:
    """Return the last part of the name of the input embedding."""
    return _name_of(model, model.get_input_embeddings())


def _name_of(model: PreTrainedModel, part: object) -> str:
    """Return the last part of the name of a module of a model."""
    names = (name for name, module in model.named_modules() if module is part)
    return str(next(names).rsplit(".", 1)[-1])


def _quiet_unless_downloading(source: ModelSource) -> AbstractContextManager[None]:
    """Return a context that hides loading bars, but not those of a download."""
    return quiet_loading() if source.is_offline else nullcontext()


def _unreadable(source: ModelSource, what: str, error: Exception) -> ModelNotFoundError:
    """Return the error for files that cannot be read."""
    return ModelNotFoundError(
        f"The {what} of {source.name} cannot be read: {_first_line(error)}",
        hint="Check that the model is complete: config.json, tokenizer.json, *.safetensors.",
        context={"model": source.name, "location": source.location},
    )


def _first_line(error: Exception) -> str:
    """Return the first line that an exception says, or its type."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
