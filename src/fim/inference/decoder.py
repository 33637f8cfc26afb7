"""A batch of sequences being decoded: prompt pass, one step per token, rows that leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch

from fim.errors import InferenceError
from fim.inference.kv_cache import is_rewindable, keep_rows, make_cache, num_positions, rewind
from fim.inference.score import answer_losses, logits_at, predicting_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedConfig


class BatchDecoder:
    """Prompts of mixed lengths on one model, padded on the left, positions counted per row.

    Args:
        model: A causal language model of transformers, with or without an adapter.
        pad_id: Id that fills short rows; never attended to.
        max_new_tokens: Tokens that may be generated for each row.
    """

    leaving_share = 0.125

    def __init__(self, model: torch.nn.Module, *, pad_id: int, max_new_tokens: int) -> None:
        self._model = model
        self._device = model_device(model)
        self._pad_id = pad_id
        self._max_new_tokens = max_new_tokens

    def read(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]] = ()
    ) -> tuple[torch.Tensor, list[list[float]]]:
        """Read the prompts of the batch, with true answers that are forgotten again.

        Args:
            prompts: Prompt ids, none of them empty.
            answers: Ids of each row's true answer; empty where it is not scored.

        Returns:
            The logits ``[B, V]`` of the first new token, and the losses of the answers' tokens;
            no losses where there are no answers or the cache cannot forget them.
        """
        longest = max(len(prompt) for prompt in prompts)
        self._length = longest
        input_ids = torch.full((len(prompts), longest), self._pad_id, dtype=torch.long)
        mask = torch.ones((len(prompts), longest + self._max_new_tokens), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            input_ids[row, longest - len(prompt) :] = torch.tensor(prompt, dtype=torch.long)
            mask[row, : longest - len(prompt)] = 0
        self._padded = any(len(prompt) < longest for prompt in prompts)
        self._mask = mask.to(self._device)
        self._next_position = self._mask[:, :longest].sum(-1, keepdim=True)
        most = max([self._max_new_tokens, *map(len, answers)])
        self._cache = make_cache(model_config(self._model), longest + most)
        if any(answers) and is_rewindable(self._cache):
            return self._read_with_answers(input_ids, answers)
        positions = (self._mask[:, :longest].cumsum(-1) - 1).clamp(min=0)
        return self._forward(input_ids.to(self._device), positions), []

    def _read_with_answers(
        self, input_ids: torch.Tensor, answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, list[list[float]]]:
        prompt_length = self._length
        width = max(len(answer) for answer in answers)
        behind = torch.zeros((len(answers), width), dtype=torch.long)
        for row, answer in enumerate(answers):
            behind[row, : len(answer)] = torch.tensor(answer, dtype=torch.long)
        mask = torch.nn.functional.pad(self._mask[:, :prompt_length], (0, width), value=1)
        places = predicting_places(answers, [prompt_length] * len(answers))
        with torch.inference_mode():
            logits = logits_at(
                self._model,
                places + [(row, prompt_length - 1) for row in range(len(answers))],
                {
                    "input_ids": torch.cat([input_ids, behind], 1).to(self._device),
                    "attention_mask": mask if self._padded else None,
                    "position_ids": (mask.cumsum(-1) - 1).clamp(min=0),
                    "past_key_values": self._cache,
                    "use_cache": True,
                },
            )
            losses = answer_losses(logits[: len(places)], answers)
        self._check_filled(prompt_length + width)
        rewind(self._cache, prompt_length)
        return logits[len(places) :], losses

    def step(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Append one id ``[B]`` to every row and return the next logits ``[B, V]``."""
        positions = self._next_position
        self._next_position = positions + 1
        self._length += 1
        return self._forward(token_ids.to(self._device)[:, None], positions)

    def keep(self, rows: Sequence[int]) -> None:
        """Forget every row but these, which take this order."""
        index = torch.tensor(list(rows), dtype=torch.long, device=self._device)
        self._mask = self._mask[index]
        self._next_position = self._next_position[index]
        self._padded = bool((self._mask[:, : self._length] == 0).any())
        keep_rows(self._cache, rows, self._device)

    def _forward(self, input_ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            output = self._model(
                input_ids=input_ids,
                attention_mask=self._mask[:, : self._length] if self._padded else None,
                position_ids=positions,
                past_key_values=self._cache,
                use_cache=True,
                logits_to_keep=1,
            )
        self._check_filled(self._length)
        return cast("torch.Tensor", output.logits)[:, -1]

    def _check_filled(self, length: int) -> None:
        """Refuse a model that did not write what it read into the cache that it was handed.

        Raises:
            InferenceError: It did not: every later id would be chosen without the text before it.
        """
        found = num_positions(self._cache)
        if found is None or found == length:
            return
        name = type(self._model).__name__
        raise InferenceError(
            f"{name} was handed a key-value cache and {length} positions, and the cache holds "
            f"{found}: it keeps its keys and values elsewhere, so that every later token would be "
            "chosen without the text before it.",
            hint="load it with transformers: FIM_MODEL_BACKEND=transformers",
            context={"model": name, "expected": length, "found": found},
        )


def model_device(model: torch.nn.Module) -> torch.device:
    """Return the device where a model's inputs belong: the one it names, else its weights'."""
    device = getattr(model, "device", None)
    return device if isinstance(device, torch.device) else next(model.parameters()).device


def model_config(model: torch.nn.Module) -> PreTrainedConfig:
    """Return the configuration of a model."""
    return cast("PreTrainedConfig", model.config)


def position_limit(model: torch.nn.Module) -> int | None:
    """Return how many tokens a model can attend to, or None when it does not say."""
    limit = getattr(model_config(model), "max_position_embeddings", None)
    return limit if isinstance(limit, int) and limit > 0 else None
