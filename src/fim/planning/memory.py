"""How much memory a training run takes, from its shape: a formula, checked against measured peaks.

Weights
    Projections at the bytes of their number type, or at 4.127 bits with NF4 and double
    quantisation; embedding, head and norms at the bytes of the number type. A 16-bit number type
    needs a copy of what is trained as well.
Trained
    LoRA parameters (all of them in full fine-tuning) in float32, their gradients, and the
    optimizer's states.
Activations
    What autograd keeps of each token in each layer, see :func:`bytes_per_token_and_layer` (a test
    counts it tensor by tensor); with checkpointing a layer's input alone, and one layer in full
    while it is recomputed. Unsloth may move some of that to the host; that is not counted on.
Logits
    Supervised positions times the vocabulary: in the number type, widened to float32, with its
    log-softmax and its gradient. A chunk holds 2,048 positions at most.
    The allocator keeps more than that: on the CPU 15 % more were measured (glibc), on CUDA a tenth
    is assumed.
Runtime
    Libraries, data, and on CUDA the context.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fim.config import LoraSettings
    from fim.model import ModelShape

BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
NF4_BYTES = 0.5 + 0.127 / 8
FLOAT32_BYTES = 4
HEAD_CHUNK_TOKENS = 2048
OPTIMIZER_BYTES = {
    "adamw_8bit": 2,
    "adamw_bnb_8bit": 2,
    "paged_adamw_8bit": 2,
    "lion_8bit": 1,
    "paged_lion_8bit": 1,
    "adafactor": 1,
    "sgd": 0,
}
DEFAULT_OPTIMIZER_BYTES = 8
RUNTIME_MIB = {"cpu": 650, "cuda": 1024}
ALLOCATOR_SHARE = {"cpu": 1.15, "cuda": 1.1}
MIB = 2**20


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Estimated peak memory of training by what takes it (MiB): of the GPU, else of the process."""

    weights_mib: float
    trained_mib: float
    activations_mib: float
    logits_mib: float
    runtime_mib: float

    @property
    def total_mib(self) -> float:
        """Everything together."""
        parts: dict[str, float] = asdict(self)
        return sum(parts.values())

    def as_json(self) -> dict[str, int]:
        """Return the parts in whole MiB."""
        return {name: round(value) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Load:
    """What a forward and backward pass is computed over.

    Args:
        tokens: Ids of the largest batch or packed row, padding included.
        longest: Ids of the longest row.
        supervised_tokens: Trained ids of the largest batch.
    """

    tokens: int
    longest: int
    supervised_tokens: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how a model is trained.

    Args:
        device: ``cpu`` or ``cuda``.
        dtype: Number type of weights and computation.
        backend: ``transformers`` or ``unsloth``.
        is_quantised: The base is held in 4 bits.
        is_eager: Attention scores are computed as whole matrices.
        is_full: Every weight is trained, in float32.
        optimizer: Name of the optimizer that runs there.
    """

    device: str
    dtype: str
    backend: str
    is_quantised: bool
    is_eager: bool
    optimizer: str
    is_full: bool = False


def estimate_memory(
    shape: ModelShape, lora: LoraSettings, load: Load, place: Place
) -> MemoryEstimate:
    """Return the estimated peak of training a LoRA adapter.

    Args:
        shape: Of the base.
        lora: Of the adapter.
        load: Tokens of the largest batch.
        place: Where and how.
    """
    size = BYTES[place.dtype]
    states = OPTIMIZER_BYTES.get(place.optimizer, DEFAULT_OPTIMIZER_BYTES)
    copy = size if size < FLOAT32_BYTES else 0
    if place.is_full:
        trained = shape.num_projection_parameters + shape.num_other_parameters
        weights: float = trained * copy
    else:
        trained = shape.num_adapter_parameters(lora.target_modules, rank=lora.r)
        weights = _weight_bytes(shape, place) + trained * copy
    activations = _activation_bytes(shape, lora, load, place)
    return MemoryEstimate(
        weights_mib=weights / MIB,
        trained_mib=trained * (2 * FLOAT32_BYTES + states) / MIB,
        activations_mib=activations * ALLOCATOR_SHARE[place.device] / MIB,
        logits_mib=_logit_bytes(shape, load, size) / MIB,
        runtime_mib=RUNTIME_MIB[place.device],
    )


def _weight_bytes(shape: ModelShape, place: Place) -> float:
    """Return the bytes of a base that stays as it is."""
    size = BYTES[place.dtype]
    projections = NF4_BYTES if place.is_quantised else size
    return shape.num_projection_parameters * projections + shape.num_other_parameters * size


def bytes_per_token_and_layer(shape: ModelShape, lora: LoraSettings, place: Place) -> float:
    """Return what autograd keeps of a token in a layer without checkpointing.

    Two norms, and those of queries and keys, keep their input, in float32 where they are not
    computed leanly; the projections keep their inputs (that of q, k and v, of o, of gate and up, of
    down) and a rank's worth each; attention keeps queries, keys and values, its output being the
    input of o; the gated feed-forward keeps gate, activation and up.
    """
    size = BYTES[place.dtype]
    hidden, wide = shape.hidden_size, shape.intermediate_size
    is_lean = place.device == "cpu" and not place.is_full
    normed = 2 * hidden + (shape.query_size + shape.key_size if shape.has_head_norms else 0)
    norms = normed * (size if is_lean else FLOAT32_BYTES)
    inputs = size * (2 * hidden + shape.query_size + wide)
    ranks = size * lora.r * len(shape.adapted(lora.target_modules))
    attention = size * (shape.query_size + 2 * shape.key_size)
    feed_forward = size * 3 * wide
    return norms + inputs + ranks + attention + feed_forward


def _activation_bytes(shape: ModelShape, lora: LoraSettings, load: Load, place: Place) -> float:
    """Return the bytes of activations at the height of a step."""
    size = BYTES[place.dtype]
    layer = load.tokens * bytes_per_token_and_layer(shape, lora, place)
    if place.is_eager:
        layer += 2 * size * shape.num_heads * load.tokens * load.longest
    if not lora.gradient_checkpointing:
        return shape.num_layers * layer
    kept = shape.num_layers * load.tokens * shape.hidden_size * size
    return kept + 2 * layer


def _logit_bytes(shape: ModelShape, load: Load, size: int) -> float:
    """Return the bytes of logits, their float32 form, log-softmax and gradient."""
    positions = min(load.supervised_tokens, HEAD_CHUNK_TOKENS)
    widened = FLOAT32_BYTES if size < FLOAT32_BYTES else 0
    return positions * shape.vocabulary_tokens * (2 * size + widened + 2 * FLOAT32_BYTES)
