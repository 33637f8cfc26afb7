"""What a training set is mixed of: holes in two orders, plain code, with and without context.

Every choice follows from the seed and the example's own text, so it does not depend on the order of
the examples, and a set that grows keeps the choices of what it already held.

Source:
    Bavarian et al. 2022, arXiv:2207.14255: a high rate of infilling rows costs nothing as long as
    some plain rows stay, and cuts at characters are what teaches a cursor inside a word.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Self

from fim.data.recut import empty_out, recut

if TYPE_CHECKING:
    from fim.config import DataSettings
    from fim.types import FimExample


class RowRole(StrEnum):
    """As what kind of row an example is trained."""

    FIM = "fim"
    SPM = "spm"
    PLAIN = "plain"


@dataclass(frozen=True, slots=True)
class Mixture:
    """Shares of a training set, each from 0 to 1.

    Args:
        fim_rate: Rows with a hole; the rest is plain code, read from left to right.
        spm_share: Rows with a hole that have the suffix first.
        context_free_share: Rows with a hole whose context is left out.
        character_cut_share: Holes that are cut anew inside a line or a word.
        empty_middle_share: Holes into which nothing is to be inserted.
        seed: Seed of all choices.
    """

    fim_rate: float = 1.0
    spm_share: float = 0.0
    context_free_share: float = 0.0
    character_cut_share: float = 0.0
    empty_middle_share: float = 0.0
    seed: int = 3407

    @classmethod
    def of(cls, settings: DataSettings) -> Self:
        """Return the mixture that the settings ask for."""
        return cls(
            fim_rate=settings.fim_rate,
            spm_share=settings.spm_share,
            context_free_share=settings.context_free_share,
            character_cut_share=settings.character_cut_share,
            empty_middle_share=settings.empty_middle_share,
            seed=settings.seed,
        )


@dataclass(frozen=True, slots=True)
class MixedExample:
    """An example and the kind of row that it becomes."""

    example: FimExample
    role: RowRole = RowRole.FIM


@dataclass(frozen=True, slots=True)
class MixedSet:
    """Examples in their order, and how many of them each part of the mixture changed.

    ``effects`` counts the rows by role (``fim``, ``spm``, ``plain``), and under ``recut``,
    ``recut_impossible``, ``emptied``, ``without_context`` and ``context_held_middle`` what happened
    to the holes.
    """

    examples: tuple[MixedExample, ...]
    effects: Mapping[str, int] = field(default_factory=dict)


def mix_examples(examples: Iterable[FimExample], mixture: Mixture) -> MixedSet:
    """Decide for every example what kind of row it becomes, and change its hole where drawn."""
    effects: Counter[str] = Counter()
    mixed = tuple(_mix(example, mixture, effects) for example in examples)
    return MixedSet(mixed, {name: effects[name] for name in sorted(effects)})


def _mix(example: FimExample, mixture: Mixture, effects: Counter[str]) -> MixedExample:
    draw = random.Random(_seed(example, mixture.seed))
    is_fim, is_spm, is_alone, is_recut, is_empty = (
        draw.random() < share
        for share in (
            mixture.fim_rate,
            mixture.spm_share,
            mixture.context_free_share,
            mixture.character_cut_share,
            mixture.empty_middle_share,
        )
    )
    if not is_fim:
        effects[RowRole.PLAIN] += 1
        return MixedExample(example, RowRole.PLAIN)
    role = RowRole.SPM if is_spm else RowRole.FIM
    effects[role] += 1
    if is_alone and example.context:
        effects["without_context"] += 1
        example = replace(example, context=())
    if is_empty and example.middle:
        effects["emptied"] += 1
        example = empty_out(example)
    elif is_recut:
        example = _recut(example, draw, effects)
    return MixedExample(example, role)


def _recut(example: FimExample, draw: random.Random, effects: Counter[str]) -> FimExample:
    changed = recut(example, draw)
    if changed is None:
        effects["recut_impossible"] += 1
        return example
    effects["recut"] += 1
    num_left_out = len(example.context) - len(changed.context)
    if num_left_out:
        effects["context_held_middle"] += num_left_out
    return changed


def _seed(example: FimExample, seed: int) -> int:
    digest = hashlib.blake2b(str(seed).encode("ascii"), digest_size=8)
    for text in (example.prefix, example.middle, example.suffix):
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return int.from_bytes(digest.digest(), "little")
