"""Sentinel formats that put the suffix first: three orders that all go by the name SPM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.formats.base import control
from fim.formats.sentinel import SentinelFormat
from fim.formats.surroundings import surround
from fim.types import FimExample, Segment, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class SpmFormat(SentinelFormat):
    """Plain SPM: ``[SUF] suffix [PRE] prefix [MID]`` and then the middle.

    Source:
        Seed-Coder (arXiv:2506.03524) and GPT-NeoX's FIM branch.
    """

    name: str = "spm"
    order: str = "spm"

    def _prompt(self, example: FimExample) -> Iterator[Segment]:
        around = surround(self.tokens, example)
        yield from around.before
        yield control(self.tokens.suffix)
        yield Segment(SegmentKind.SUFFIX, example.suffix)
        yield control(self.tokens.prefix)
        yield from self._spaced(*around.inside, Segment(SegmentKind.PREFIX, example.prefix))
        yield from self._middle_token()


@dataclass(frozen=True, slots=True)
class Spm2Format(SentinelFormat):
    """Joint SPM: ``[PRE] [SUF] suffix [MID] prefix`` and then the middle.

    It is PSM with an empty prefix and a middle that begins early, so a model trained on both orders
    carries what it learns from one to the other.

    Source:
        Bavarian et al. 2022, arXiv:2207.14255, section 4.3; BigCode's Megatron-LM; CodeLlama.
    """

    name: str = "spm2"
    order: str = "spm2"

    def _prompt(self, example: FimExample) -> Iterator[Segment]:
        around = surround(self.tokens, example)
        yield from around.before
        yield control(self.tokens.prefix)
        yield control(self.tokens.suffix)
        yield Segment(SegmentKind.SUFFIX, example.suffix)
        yield from self._middle_token()
        yield from self._spaced(*around.inside, Segment(SegmentKind.PREFIX, example.prefix))


@dataclass(frozen=True, slots=True)
class CodestralFormat(SentinelFormat):
    """Codestral's order: ``[SUF] suffix [PRE] prefix`` and then the middle, without a middle token.

    Source:
        mistral-common, ``encode_fim``; context as ``+++++ path⏎text`` in front of the prefix.
    """

    name: str = "codestral"
    order: str = "codestral"

    def _prompt(self, example: FimExample) -> Iterator[Segment]:
        around = surround(self.tokens, example)
        yield from around.before
        yield control(self.tokens.suffix)
        yield Segment(SegmentKind.SUFFIX, example.suffix)
        yield control(self.tokens.prefix)
        yield from self._spaced(*around.inside, Segment(SegmentKind.PREFIX, example.prefix))
