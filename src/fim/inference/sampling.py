"""Choosing the next token: greedy, or sampled with temperature, top-k and top-p."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, TypedDict

from fim.errors import InvalidSettingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from fim.config import InferSettings

DEFAULT_SEED = 3407
_SEED_STRIDE = 1_000_003
_MAX_SEED = 2**63


class GenerationOverrides(TypedDict, total=False):
    """Generation parameters that a single call may set."""

    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    repetition_penalty: float
    seed: int


@dataclass(frozen=True, slots=True)
class GenerationOptions:
    """How tokens are generated.

    Args:
        max_new_tokens: Longest completion in tokens, its end token included.
        temperature: 0 always takes the likeliest token.
        top_p: Sample from the likeliest tokens of this total probability.
        top_k: Sample from this many tokens; 0 takes all.
        repetition_penalty: Divisor of the scores of tokens that stand in the prompt or the answer.
        seed: Seed of sampling; each sequence of a batch gets its own stream of it.
    """

    max_new_tokens: int = 128
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int = DEFAULT_SEED

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            InvalidSettingError: A value is out of range.
        """
        ranges = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1 token"),
            "temperature": (self.temperature >= 0, "0 or more"),
            "top_p": (0 < self.top_p <= 1, "more than 0 and at most 1"),
            "top_k": (self.top_k >= 0, "0 (all tokens) or more"),
            "repetition_penalty": (self.repetition_penalty > 0, "more than 0"),
        }
        for name, (fits, wanted) in ranges.items():
            if not fits:
                raise InvalidSettingError(
                    f"{name} is {getattr(self, name)}, so nothing sensible can be generated",
                    hint=f"{name} should be {wanted}",
                    context={"setting": f"infer.{name}"},
                )

    @classmethod
    def from_settings(
        cls, settings: InferSettings, overrides: GenerationOverrides | None = None
    ) -> GenerationOptions:
        """Return the options of the settings, changed by a call's own parameters.

        Raises:
            InvalidSettingError: A value is out of range.
        """
        options = cls(
            max_new_tokens=settings.max_new_tokens,
            temperature=settings.temperature,
            top_p=settings.top_p,
            top_k=settings.top_k,
            repetition_penalty=settings.repetition_penalty,
        )
        return replace(options, **overrides) if overrides else options

    def as_json(self) -> dict[str, float]:
        """Return the options as JSON-ready data."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class TokenChooser:
    """Choose the next token of every sequence in a batch.

    Args:
        options: How to choose.
        prompts: The prompts of the batch, in row order.
        streams: A number per row that makes its random stream its own, whatever the batch.
    """

    def __init__(
        self,
        options: GenerationOptions,
        prompts: Sequence[Sequence[int]],
        streams: Sequence[int],
    ) -> None:
        self._options = options
        self._seen = [list(prompt) for prompt in prompts]
        self._streams = list(streams)
        self._generators: list[torch.Generator] = []

    def choose(self, logits: torch.Tensor) -> torch.Tensor:
        """Return the next ids ``[B]`` for logits ``[B, V]``."""
        import torch

        with torch.inference_mode():
            if self._options.repetition_penalty != 1:
                logits = self._penalised(logits.float())
            chosen = (
                logits.max(-1).indices if self._options.temperature == 0 else self._sample(logits)
            )
        if self._options.repetition_penalty != 1:
            for seen, token_id in zip(self._seen, chosen.tolist(), strict=True):
                seen.append(token_id)
        return chosen

    def join(self, prompts: Sequence[Sequence[int]], streams: Sequence[int]) -> None:
        """Add rows behind those there are."""
        self._seen += [list(prompt) for prompt in prompts]
        self._streams += streams

    def keep(self, rows: Sequence[int]) -> None:
        """Forget every row but these, which take this order."""
        self._seen = [self._seen[row] for row in rows]
        self._streams = [self._streams[row] for row in rows]
        if self._generators:
            self._generators = [self._generators[row] for row in rows]

    def _penalised(self, logits: torch.Tensor) -> torch.Tensor:
        """Divide positive and multiply negative scores of seen tokens.

        Source: Keskar et al. 2019, CTRL, section 4.1, over prompt and answer as transformers does.
        """
        import torch

        penalty = self._options.repetition_penalty
        penalised = logits.clone()
        for row, seen in enumerate(self._seen):
            ids = torch.tensor(sorted(set(seen)), dtype=torch.long, device=logits.device)
            scores = penalised[row, ids]
            penalised[row, ids] = torch.where(scores < 0, scores * penalty, scores / penalty)
        return penalised

    def _sample(self, logits: torch.Tensor) -> torch.Tensor:
        import torch

        new = self._streams[len(self._generators) :]
        self._generators += [self._generator(stream, logits) for stream in new]
        probabilities = _probabilities(logits.float(), self._options)
        rows = [
            torch.multinomial(row, 1, generator=generator)
            for row, generator in zip(probabilities, self._generators, strict=True)
        ]
        return torch.cat(rows)

    def _generator(self, stream: int, logits: torch.Tensor) -> torch.Generator:
        import torch

        seed = (self._options.seed + stream * _SEED_STRIDE) % _MAX_SEED
        return torch.Generator(device=logits.device).manual_seed(seed)


def _probabilities(logits: torch.Tensor, options: GenerationOptions) -> torch.Tensor:
    """Return the probabilities ``[B, V]`` that are sampled from.

    Source: Holtzman et al. 2020 (top-p); the likeliest token always stays.
    """
    logits = logits / options.temperature
    if 0 < options.top_k < logits.shape[-1]:
        least = logits.topk(options.top_k, dim=-1).values[:, -1:]
        logits = logits.masked_fill(logits < least, -float("inf"))
    if options.top_p < 1:
        ordered, places = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(-1)
        surplus = probabilities.cumsum(-1) - probabilities >= options.top_p
        surplus[:, 0] = False
        logits = logits.masked_fill(surplus.scatter(-1, places, surplus), -float("inf"))
    return logits.softmax(-1)
