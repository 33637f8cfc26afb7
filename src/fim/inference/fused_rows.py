"""Sequences on a fused model, read as one row of ids after the other.

Only attention looks at each sequence apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fim.inference.rows import wanted_places

if TYPE_CHECKING:
    from fim.inference.fused import FusedModel
    from fim.inference.rows import Part


@dataclass(frozen=True, slots=True)
class Stretches:
    """Where the ids of parts stand: one stretch of positions for each row.

    Args:
        places: Row, first position and the position after the last, of each part.
    """

    places: Sequence[tuple[int, int, int]]

    def attend(
        self, cache: tuple[torch.Tensor, torch.Tensor], rotated: torch.Tensor, new: torch.Tensor
    ) -> torch.Tensor:
        """Keep keys and values ``[N, G, D]``, and return what queries ``[N, H, D]`` find."""
        keys, values = cache
        queries, new_keys = _queries_and_keys(rotated, new)
        found, at = [], 0
        for row, start, end in self.places:
            part = slice(at, at + end - start)
            at = part.stop
            keys[row, :, start:end] = new_keys[part].transpose(0, 1)
            values[row, :, start:end] = new[part].transpose(0, 1)
            is_long = end - start > 1
            attended = torch.nn.functional.scaled_dot_product_attention(
                queries[None, part].transpose(1, 2),
                keys[row : row + 1, :, :end],
                values[row : row + 1, :, :end],
                attn_mask=_mask(end - start, end) if start and is_long else None,
                is_causal=is_long and not start,
                enable_gqa=True,
            )
            found.append(attended[0].transpose(0, 1))
        return found[0] if len(found) == 1 else torch.cat(found)


@dataclass(frozen=True, slots=True)
class Steps:
    """One id more for each of the first rows.

    Args:
        rows: Numbers of the rows ``[B]``.
        columns: The position of each row's id ``[B]``.
        end: The position after the last of them.
        mask: What is added to scores ``[B, 1, 1, T]``; None where all rows are equally long.
    """

    rows: torch.Tensor
    columns: torch.Tensor
    end: int
    mask: torch.Tensor | None

    @classmethod
    def after(cls, lengths: Sequence[int], dtype: torch.dtype) -> Steps:
        """Return the steps after rows of some lengths."""
        columns, end = torch.tensor(lengths), max(lengths) + 1
        mask = None
        if min(lengths) + 1 < end:
            unseen = torch.arange(end) > columns[:, None]
            mask = torch.zeros(unseen.shape, dtype=dtype).masked_fill_(unseen, -float("inf"))
            mask = mask[:, None, None]
        return cls(torch.arange(len(lengths)), columns, end, mask)

    def attend(
        self, cache: tuple[torch.Tensor, torch.Tensor], rotated: torch.Tensor, new: torch.Tensor
    ) -> torch.Tensor:
        """Keep keys and values ``[B, G, D]``, and return what queries ``[B, H, D]`` find."""
        keys, values = cache
        queries, new_keys = _queries_and_keys(rotated, new)
        keys[self.rows, :, self.columns] = new_keys
        values[self.rows, :, self.columns] = new
        return torch.nn.functional.scaled_dot_product_attention(
            queries[:, :, None],
            keys[: len(new), :, : self.end],
            values[: len(new), :, : self.end],
            attn_mask=self.mask,
            enable_gqa=True,
        )[:, :, 0]


class FusedRows:
    """Sequences that are being read and continued.

    Args:
        model: The model.
        rows: Most sequences at a time.
        capacity: Most ids that one of them will hold.
    """

    def __init__(self, model: FusedModel, rows: int, capacity: int) -> None:
        self.lengths = [0] * rows
        self._model = model
        self._rotations = model.rotations(capacity)
        self._cache = model.new_cache(rows, capacity)

    def read(self, parts: Sequence[Part]) -> torch.Tensor:
        """Append ids and return the logits ``[N, V]`` after the last of each part."""
        places = [
            (part.row, start := self.lengths[part.row], start + len(part.ids)) for part in parts
        ]
        positions = torch.cat([torch.arange(start, end) for _, start, end in places])
        wanted = torch.tensor(wanted_places(parts))
        ids = [token_id for part in parts for token_id in part.ids]
        for row, _, end in places:
            self.lengths[row] = end
        return self._forward(torch.tensor(ids), positions, Stretches(places), wanted)

    def step(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Append an id ``[B]`` to each of the first rows and return the logits ``[B, V]``."""
        num_rows = len(token_ids)
        steps = Steps.after(self.lengths[:num_rows], self._model.dtype)
        for row in range(num_rows):
            self.lengths[row] += 1
        return self._forward(token_ids, steps.columns, steps, None)

    def move(self, source: int, target: int) -> None:
        """Put one sequence in the place of another."""
        length = self.lengths[source]
        self.lengths[target] = length
        for both in self._cache:
            for each in both:
                each[target, :, :length] = each[source, :, :length]

    def _forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        layout: Stretches | Steps,
        wanted: torch.Tensor | None,
    ) -> torch.Tensor:
        cos, sin = (each[positions] for each in self._rotations)
        with torch.inference_mode():
            return self._model.forward(ids, (cos, sin), self._cache, layout.attend, wanted)


def _queries_and_keys(
    rotated: torch.Tensor, values: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    num_queries = rotated.shape[1] - values.shape[1]
    return rotated[:, :num_queries], rotated[:, num_queries:]


def _mask(num_new: int, num_all: int) -> torch.Tensor:
    """Return which positions ``[T, S]`` the last ones may look at."""
    return torch.ones(num_new, num_all, dtype=torch.bool).tril(num_all - num_new)
