"""Sequences on a fast model: one, or many of mixed lengths that join and leave.

A fast model keeps keys and values of several sequences, each filled from the left to its own
length, so nothing is padded. What it must be able to do is said here; how stands beside each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from fim.inference.score import answer_losses

READ_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Part:
    """Some more ids of a sequence.

    Args:
        row: Which sequence.
        ids: The ids.
        num_logits: After how many of the last ones logits are wanted.
    """

    row: int
    ids: Sequence[int]
    num_logits: int = 1


def wanted_places(parts: Sequence[Part]) -> list[int]:
    """Return after which of the parts' ids, one part behind the other, logits are wanted."""
    places: list[int] = []
    end = 0
    for part in parts:
        end += len(part.ids)
        places += range(end - part.num_logits, end)
    return places


class Rows(Protocol):
    """Sequences that are being read and continued; ``lengths`` may be lowered to forget ids."""

    lengths: list[int]

    def read(self, parts: Sequence[Part]) -> torch.Tensor:
        """Append ids and return the logits ``[N, V]`` after the last of each part."""
        ...

    def step(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Append an id ``[B]`` to each of the first rows and return the logits ``[B, V]``."""
        ...

    def move(self, source: int, target: int) -> None:
        """Put one sequence in the place of another."""
        ...


class FastModel(Protocol):
    """A model in a form that is fast on the CPU.

    ``drafted_tokens`` says how much it is worth to draft after a match of so many ids, the longest
    match first: that depends on what one more id costs.
    """

    @property
    def drafted_tokens(self) -> Mapping[int, int]:
        """How much to draft after a match of so many ids."""
        ...

    def rows(self, rows: int, capacity: int) -> Rows:
        """Return room for some sequences of at most so many ids each."""
        ...


class RowBatch:
    """Answers being generated in the rows of a fast model; new prompts may join at any time.

    Args:
        model: The model.
        rows: Most answers at a time.
        capacity: Most ids of a prompt with its answer.
    """

    leaving_share = 0.0

    def __init__(self, model: FastModel, rows: int, capacity: int) -> None:
        self._rows = model.rows(rows, capacity)
        self._num_rows = 0

    def read(
        self, prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
    ) -> tuple[torch.Tensor, list[list[float]]]:
        """Read prompts into new rows, with true answers that are forgotten again.

        Args:
            prompts: Prompt ids.
            answers: Ids of each prompt's true answer; empty where it is not scored.

        Returns:
            The logits ``[B, V]`` of the first new tokens, and the losses of the answers' tokens.
        """
        first: list[torch.Tensor] = []
        losses: list[list[float]] = []
        for group in _groups([len(a) + len(b) for a, b in zip(prompts, answers, strict=True)]):
            parts = [self._part(index, prompts[index], answers[index]) for index in group]
            logits = torch.split(self._rows.read(parts), [part.num_logits for part in parts])
            first += [each[:1] for each in logits]
            known = [each for index, each in zip(group, logits, strict=True) if answers[index]]
            scored = answer_losses(torch.cat(known), [answers[i] for i in group]) if known else []
            losses += scored or [[] for _ in group]
        for index, prompt in enumerate(prompts):
            self._rows.lengths[self._num_rows + index] = len(prompt)
        self._num_rows += len(prompts)
        return torch.cat(first), losses

    def _part(self, index: int, prompt: Sequence[int], answer: Sequence[int]) -> Part:
        row = self._num_rows + index
        self._rows.lengths[row] = 0
        return Part(row, [*prompt, *answer[:-1]], max(1, len(answer)))

    def step(self, token_ids: torch.Tensor) -> torch.Tensor:
        """Append one id ``[B]`` to every row and return the next logits ``[B, V]``."""
        return self._rows.step(token_ids)

    def keep(self, rows: Sequence[int]) -> None:
        """Forget every row but these; those that change places come from behind all others."""
        for target, source in enumerate(rows):
            if source != target:
                self._rows.move(source, target)
        self._num_rows = len(rows)


def _groups(sizes: Sequence[int]) -> Iterator[list[int]]:
    """Split the numbers of rows into runs of about as many ids as are best read at once."""
    group: list[int] = []
    total = 0
    for index, size in enumerate(sizes):
        if group and total + size > READ_TOKENS:
            yield group
            group, total = [], 0
        group.append(index)
        total += size
    if group:
        yield group
