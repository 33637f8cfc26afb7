"""Prompt lookup: several tokens for one reading of the weights, none of them different.

What comes next has often stood in the prompt before: the tokens that followed the last ones then
(five, three, two or one of them) are a draft, the longer the more of them matched; how long pays is
the fast model's to say. The model reads it behind the last token at little more than the price of
that token alone; as long as it chooses what the draft says, its next logits are there.

Source: Saxena 2023, prompt lookup decoding; Leviathan et al. 2023, arXiv:2211.17192.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from fim.inference.rows import Part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.inference.rows import FastModel


class PromptLookup:
    """Finds what followed the last ids of a growing sequence when they stood there before.

    Args:
        drafted_tokens: How much is drafted after a match of so many ids, the longest match first.
    """

    def __init__(self, drafted_tokens: Mapping[int, int]) -> None:
        self._drafted_tokens = drafted_tokens
        self.ids: list[int] = []
        self._ends: dict[tuple[int, ...], int] = {}
        self._num_indexed = 0

    def extend(self, ids: Sequence[int]) -> None:
        """Append ids."""
        self.ids.extend(ids)

    def draft(self, most: int) -> list[int]:
        """Return what may come next, the latest and longest match first."""
        for end in range(self._num_indexed, len(self.ids)):
            for size in self._drafted_tokens:
                if end >= size:
                    self._ends[tuple(self.ids[end - size : end])] = end
        self._num_indexed = max(self._num_indexed, len(self.ids))
        for size, drafted in self._drafted_tokens.items():
            place = self._ends.get(tuple(self.ids[len(self.ids) - size :]))
            if place is not None:
                return self.ids[place : place + min(most, drafted)]
        return []


class DraftedLogits:
    """The logits of one next token after the other, read for whole drafts at a time.

    Args:
        model: The model.
        draft: What is likely to come first.
        num_new: Tokens that may come after the prompt.
    """

    def __init__(self, model: FastModel, *, draft: Sequence[int] = (), num_new: int) -> None:
        self._model = model
        self._known = PromptLookup(model.drafted_tokens)
        self._draft = list(draft[: num_new - 1])
        self._num_new = num_new
        self._num_ahead = 0

    def read(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, list[list[float]]]:
        """Read the only prompt; return the logits ``[1, V]`` of the first token, and no losses."""
        (prompt,) = prompts
        self._known.extend(prompt)
        self._end = len(prompt) + self._num_new
        self._rows = self._model.rows(1, self._end)
        return self._read([*prompt, *self._draft]), []

    def step(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Append one id ``[1]`` and return the logits ``[1, V]`` of the token after it."""
        token_id = int(token_ids[0])
        self._known.extend([token_id])
        ahead = self._num_ahead
        if self._draft[ahead : ahead + 1] == [token_id]:
            self._num_ahead = ahead + 1
            return self._logits[ahead + 1 : ahead + 2]
        num_known = len(self._known.ids)
        self._rows.lengths[0] = num_known - 1
        most = self._end - num_known - 1
        self._draft = self._known.draft(most) if most > 0 else []
        return self._read([token_id, *self._draft])

    def _read(self, ids: Sequence[int]) -> torch.Tensor:
        self._num_ahead = 0
        self._logits = self._rows.read([Part(0, ids, len(self._draft) + 1)])
        return self._logits[:1]
