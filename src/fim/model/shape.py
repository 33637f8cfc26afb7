"""The shape of a decoder, read from its configuration: what its weights and activations weigh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from fim.model.targets import ALL_LINEAR

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transformers import PretrainedConfig

_NUM_NORMS_PER_LAYER = 2
_WITH_HEAD_NORMS = frozenset({"qwen3"})


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Dimensions of a dense decoder with gated feed-forward layers (Llama, Mistral, Qwen2, Qwen3).

    Args:
        num_layers: Decoder layers.
        hidden_size: Width of the residual stream.
        intermediate_size: Width of the feed-forward layer.
        num_heads: Query heads.
        query_size: Width of all query heads.
        key_size: Width of all key heads, which is that of all value heads.
        vocabulary_tokens: Rows of the embedding.
        is_tied: The head shares the embedding's weights.
        has_head_norms: Queries and keys are normed head by head.
    """

    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    query_size: int
    key_size: int
    vocabulary_tokens: int
    is_tied: bool
    has_head_norms: bool = False

    @classmethod
    def of(cls, config: PretrainedConfig) -> Self | None:
        """Return the shape, or None where the configuration is not that of such a decoder."""
        names = (
            "num_hidden_layers",
            "hidden_size",
            "intermediate_size",
            "num_attention_heads",
            "vocab_size",
        )
        values = [getattr(config, name, None) for name in names]
        layers, hidden, intermediate, heads, vocabulary = values
        if not (layers and hidden and intermediate and heads and vocabulary):
            return None
        head_size = getattr(config, "head_dim", None) or hidden // heads
        key_heads = getattr(config, "num_key_value_heads", None) or heads
        return cls(
            num_layers=layers,
            hidden_size=hidden,
            intermediate_size=intermediate,
            num_heads=heads,
            query_size=heads * head_size,
            key_size=key_heads * head_size,
            vocabulary_tokens=vocabulary,
            is_tied=bool(getattr(config, "tie_word_embeddings", False)),
            has_head_norms=str(getattr(config, "model_type", "")) in _WITH_HEAD_NORMS,
        )

    @property
    def projections(self) -> Mapping[str, tuple[int, int]]:
        """Input and output width of the seven projections of a layer, by name."""
        hidden, wide = self.hidden_size, self.intermediate_size
        return {
            "q_proj": (hidden, self.query_size),
            "k_proj": (hidden, self.key_size),
            "v_proj": (hidden, self.key_size),
            "o_proj": (self.query_size, hidden),
            "gate_proj": (hidden, wide),
            "up_proj": (hidden, wide),
            "down_proj": (wide, hidden),
        }

    @property
    def num_projection_parameters(self) -> int:
        """Parameters of the projections of all layers: those that 4-bit quantisation takes."""
        each = sum(width * height for width, height in self.projections.values())
        return self.num_layers * each

    @property
    def num_other_parameters(self) -> int:
        """Parameters of embedding, head and norms."""
        matrices = 1 if self.is_tied else 2
        norms = (self.num_layers * _NUM_NORMS_PER_LAYER + 1) * self.hidden_size
        return matrices * self.vocabulary_tokens * self.hidden_size + norms

    def num_adapter_parameters(self, modules: Iterable[str], *, rank: int) -> int:
        """Return the parameters of LoRA matrices of a rank on the named projections."""
        wanted = [self.projections[name] for name in self.adapted(modules)]
        return self.num_layers * rank * sum(width + height for width, height in wanted)

    def adapted(self, modules: Iterable[str]) -> tuple[str, ...]:
        """Return the projections that names of ``lora.target_modules`` mean."""
        names = set(modules)
        return tuple(each for each in self.projections if each in names or ALL_LINEAR in names)
