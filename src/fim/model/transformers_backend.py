"""The plain backend: transformers, PEFT and bitsandbytes, on CPU and CUDA."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from fim.errors import ConflictingSettingsError, ModelError
from fim.model.extension import has_own_head, head_of
from fim.model.failures import first_line, loading_failures, unreadable
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


def load_tokenizer(source: ModelSource) -> PreTrainedTokenizerBase:
    """Load a model's tokenizer, without its weights.

    Raises:
        ModelNotFoundError: The tokenizer cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        with quiet_loading():
            tokenizer = AutoTokenizer.from_pretrained(source.location, local_files_only=True)
    except (OSError, ValueError) as error:
        raise unreadable(source, "tokenizer", error) from error
    return cast("PreTrainedTokenizerBase", tokenizer)


def load_config(source: ModelSource) -> PretrainedConfig:
    """Load a model's configuration, without its weights.

    Raises:
        ModelNotFoundError: The configuration cannot be read.
    """
    from transformers import AutoConfig

    try:
        with quiet_loading():
            config = AutoConfig.from_pretrained(source.location, local_files_only=True)
    except (OSError, ValueError) as error:
        raise unreadable(source, "configuration", error) from error
    return cast("PretrainedConfig", config)


def load_model(
    source: ModelSource, settings: ModelSettings, *, dtype: str, device: str
) -> PreTrainedModel:
    """Load a causal language model in a number type, in 4 bits where the settings ask for it.

    Args:
        source: Where the model lies.
        settings: Attention kernel and quantisation.
        dtype: Number type of the weights that are not quantised, and of computation.
        device: ``cuda`` or ``cpu``.

    Raises:
        ModelNotFoundError: The files are missing or cannot be read.
        ModelError: The files are no causal language model.
        NotEnoughMemoryError: The model does not fit the memory.
    """
    from transformers import AutoModelForCausalLM

    how = {"quantization_config": quantisation_config(dtype)} if settings.load_in_4bit else {}
    with loading_failures(source, dtype=dtype), quiet_loading():
        model = AutoModelForCausalLM.from_pretrained(
            source.location,
            local_files_only=True,
            dtype=torch_dtype(dtype),
            attn_implementation=settings.attn_implementation,
            device_map={"": device},
            **how,
        )
    if is_quantised(model):
        prepare_4bit_layers(model, dtype)
    model.config._name_or_path = source.name  # noqa: SLF001
    model.name_or_path = source.name
    return cast("PreTrainedModel", model)


def is_quantised(model: PreTrainedModel) -> bool:
    """Tell whether a model holds weights in 4 bits, whoever quantised it."""
    return bool(getattr(model, "is_loaded_in_4bit", False))


def prepare_4bit_layers(model: PreTrainedModel, dtype: str) -> None:
    """Let 4-bit layers compute in a number type, and keep them trainable on the CPU.

    A checkpoint that was stored in 4 bits brings a number type of its own, most often bfloat16,
    whatever the card can do. On CPUs with AVX512-BF16 a 4-bit layer that runs in evaluation mode
    rewrites its weights for a kernel without a backward pass, with its scales rounded: training
    after any evaluation would lose the gradients that pass through the base.

    Source:
        bitsandbytes 0.50.2, ``nn/modules.py``, ``Linear4bit.forward``.
    """
    from bitsandbytes.nn.modules import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.compute_dtype = torch_dtype(dtype)
            module.compute_type_is_set = True
            module.support_avx512bf16_for_cpu = False


@quiet_loading()
def attach_lora(
    model: PreTrainedModel,
    lora: LoraSettings,
    *,
    control_token_ids: Sequence[int] = (),
    added_token_ids: Sequence[int] = (),
    seed: int = 3407,
) -> PreTrainedModel:
    """Freeze a model and put trainable LoRA matrices, in float32, on its projections.

    Args:
        model: The loaded base.
        lora: Rank, scale, projections, checkpointing.
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
    _prepare(model, lora)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            adapted = get_peft_model(model, config)
    except ValueError as error:
        raise ModelError(
            f"LoRA finds no place on this model: {first_line(error)}",
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
    _prepare(model, lora)
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


def _prepare(model: PreTrainedModel, lora: LoraSettings) -> None:
    """Freeze a base and switch checkpointing as asked; every weight keeps its number type.

    PEFT's own preparation of a 4-bit base widens embedding, norms and head to float32, and with
    them every activation between two 4-bit layers.
    """
    model.requires_grad_(requires_grad=False)
    model.config.use_cache = not lora.gradient_checkpointing
    if lora.gradient_checkpointing:
        model.gradient_checkpointing_enable(  # type: ignore[no-untyped-call]
            gradient_checkpointing_kwargs=_CHECKPOINTING
        )


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
