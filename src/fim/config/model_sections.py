"""Settings of the model, its LoRA adapter, the hub and the completions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, SecretStr

from fim.config.fields import Section, setting
from fim.config.kinds import NameOrFolder, Names

MAX_POSITIONS_TOKENS = 1_048_576


def _auto_is_none(value: object) -> object:
    """Read the word ``auto`` as None."""
    return None if isinstance(value, str) and value.strip().lower() == "auto" else value


Dtype = Literal["float32", "bfloat16", "float16"]
AutoDtype = Annotated[Dtype | None, BeforeValidator(_auto_is_none)]


class ModelSettings(Section):
    """Which model is loaded and how."""

    name: NameOrFolder = setting(
        "unsloth/Qwen3-8B-bnb-4bit",
        "Base model: a hub name, a model folder, or embedded/SmolLM2-135M-Instruct.",
        min_length=1,
    )
    revision: str | None = setting(None, "Branch, tag or commit of the hub model.", example="main")
    max_seq_length: int = setting(
        2048,
        "Longest row in training and longest prompt with its answer in serving.",
        unit="tokens",
        ge=32,
        le=MAX_POSITIONS_TOKENS,
    )
    dtype: AutoDtype = setting(
        None,
        "Number format of the computation; none or auto picks the best one for the hardware.",
        accepts="one of float32, bfloat16, float16, auto",
        example="bfloat16",
    )
    load_in_4bit: bool = setting(
        default=True, description="Quantise the base model to 4 bit (QLoRA)."
    )
    backend: Literal["auto", "unsloth", "transformers"] = setting(
        "auto",
        "Library that trains (transformers answers); auto takes Unsloth where CUDA and it are.",
    )
    add_tokens: bool = setting(
        default=False,
        description="Add fill-in-the-middle tokens to a base that has none, and train them.",
    )
    full_finetuning: bool = setting(
        default=False,
        description="Train every weight instead of an adapter; the run keeps a whole model.",
    )
    attn_implementation: Literal[
        "sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention"
    ] = setting("sdpa", "Attention kernel of the transformers backend.")


class LoraSettings(Section):
    """Size and place of the LoRA adapter."""

    r: int = setting(16, "Rank of the adapter.", ge=1, le=1024)
    alpha: int = setting(16, "Scale of the adapter; its weight is alpha / r.", ge=1, le=4096)
    dropout: float = setting(
        0.0, "Share of the adapter's inputs dropped in training.", unit="share of 1", ge=0, lt=1
    )
    bias: Literal["none", "all", "lora_only"] = setting("none", "Which biases are trained.")
    use_rslora: bool = setting(
        default=False, description="Scale by alpha / sqrt(r) instead of alpha / r."
    )
    use_dora: bool = setting(
        default=False,
        description="Train the length of each weight column apart from its direction (DoRA).",
    )
    target_modules: Names = setting(
        ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        "Projections that get an adapter; all-linear takes every one.",
        min_length=1,
    )
    gradient_checkpointing: bool = setting(
        default=True,
        description="Recompute activations in the backward pass: less memory, a fifth slower.",
    )
    train_control_tokens: bool = setting(
        default=False, description="Also train the embeddings of the format's control tokens."
    )


class InferSettings(Section):
    """How a completion is generated."""

    max_new_tokens: int = setting(
        128, "Longest completion.", unit="tokens", ge=1, le=MAX_POSITIONS_TOKENS
    )
    temperature: float = setting(0.0, "Randomness; 0 always takes the likeliest token.", ge=0, le=5)
    top_p: float = setting(
        1.0, "Sample from the likeliest tokens of this total.", unit="probability", gt=0, le=1
    )
    top_k: int = setting(0, "Sample from this many tokens; 0 takes all.", unit="tokens", ge=0)
    repetition_penalty: float = setting(
        1.0, "Divisor of the scores of tokens already seen; 1 is off.", gt=0, le=10
    )
    stop: Literal["none", "first_line", "first_text_line", "blank_line", "dedent", "block"] = (
        setting(
            "none",
            "Rule that ends a completion besides the end token; block: with the line where other "
            "text stands at the cursor, elsewhere before a line left of the cursor's.",
        )
    )
    stream: bool = setting(default=False, description="Write the completion while it is generated.")
    batch_size: int = setting(16, "Completions generated together.", unit="holes", ge=1, le=4096)
    token_healing: bool = setting(
        default=True,
        description="Let the model spell the word at the cursor again, so that a cursor inside a "
        "word or before an indentation does not split a token.",
    )


class HfSettings(Section):
    """Access to the Hugging Face hub."""

    token: SecretStr | None = setting(
        None, "Token for gated models and uploads; never shown nor stored.", example="hf_..."
    )
    push: bool = setting(
        default=False, description="Upload the adapter with its model card after training."
    )
    repo: str | None = setting(
        None, "Repository on the hub; none takes the run's id.", example="someone/my-completions"
    )
    private: bool = setting(
        default=True, description="Make a new repository that its owner alone sees."
    )
    replace: bool = setting(
        default=False, description="Commit into a repository that exists already."
    )
