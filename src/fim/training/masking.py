"""Find what to train in foreign chat data by its turn markers, and cross-check our own rows.

Our rows need none of this: the renderer knows which ids it trains. Chat data from elsewhere comes
as ids without labels; there the answers are found by the markers around them.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fim.types import IGNORED_LABEL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fim.types import EncodedExample, TextTokenizer

_logger = logging.getLogger(__name__)

_CONTROL = re.compile(r"(<\|[^|<>]+\|>|</?think>)")

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MaskingPatterns:
    """The markers of one chat layout, as text in which control tokens are spelled out.

    Args:
        name: Name of the layout.
        instruction: What opens a user's turn; an answer without an end token ends there.
        response: What opens an answer; it is not trained.
        preludes: What may follow ``response`` and belongs to the prompt as well.
        ends: Control tokens that close an answer; they are trained.
    """

    name: str
    instruction: str
    response: str
    preludes: tuple[str, ...]
    ends: tuple[str, ...]


CHATML_PATTERNS = MaskingPatterns(
    name="chatml",
    instruction="<|im_start|>user\n",
    response="<|im_start|>assistant\n",
    preludes=("<think>\n\n</think>\n\n",),
    ends=("<|im_end|>",),
)
HARMONY_PATTERNS = MaskingPatterns(
    name="harmony",
    instruction="<|start|>user<|message|>",
    response="<|start|>assistant<|channel|>final<|message|>",
    preludes=(),
    ends=("<|return|>", "<|end|>"),
)
KNOWN_PATTERNS = (CHATML_PATTERNS, HARMONY_PATTERNS)


class MaskingStrategy:
    """Labels for rows of ids, by marker sequences; without markers every token is trained.

    Make it with :meth:`of` for a known layout, such as ``MaskingStrategy.CHATML_PATTERNS``, or
    :meth:`detect` for a tokenizer.

    Args:
        name: Name of the layout, ``all`` for the fallback.
        response: Ids that open an answer; empty trains everything.
        instruction: Ids that open a user's turn.
        preludes: Ids that may follow ``response`` untrained.
        ends: Ids that close an answer.
    """

    CHATML_PATTERNS: ClassVar[MaskingPatterns] = CHATML_PATTERNS
    HARMONY_PATTERNS: ClassVar[MaskingPatterns] = HARMONY_PATTERNS

    def __init__(
        self,
        *,
        name: str = "all",
        response: Ids = (),
        instruction: Ids = (),
        preludes: tuple[Ids, ...] = (),
        ends: frozenset[int] = frozenset(),
    ) -> None:
        self.name = name
        self._response = response
        self._instruction = instruction
        self._preludes = preludes
        self._ends = ends

    @classmethod
    def of(cls, patterns: MaskingPatterns, tokenizer: TextTokenizer) -> MaskingStrategy | None:
        """Return the strategy of a layout, or None when the tokenizer cannot spell its markers."""
        response = _ids(patterns.response, tokenizer)
        instruction = _ids(patterns.instruction, tokenizer)
        ends = [tokenizer.control_token_id(token) for token in patterns.ends]
        if response is None or instruction is None or None in ends:
            return None
        preludes = [_ids(text, tokenizer) for text in patterns.preludes]
        return cls(
            name=patterns.name,
            response=response,
            instruction=instruction,
            preludes=tuple(ids for ids in preludes if ids is not None),
            ends=frozenset(end for end in ends if end is not None),
        )

    @classmethod
    def detect(cls, tokenizer: TextTokenizer) -> MaskingStrategy:
        """Return the strategy of the layout that a tokenizer has the control tokens of.

        A tokenizer of none gets the fallback that trains every token, which the log is told.
        """
        for patterns in KNOWN_PATTERNS:
            strategy = cls.of(patterns, tokenizer)
            if strategy is not None:
                return strategy
        _logger.warning(
            "the tokenizer has the control tokens of no known chat layout (%s): every token is "
            "trained, prompts included",
            ", ".join(patterns.name for patterns in KNOWN_PATTERNS),
        )
        return cls()

    def apply(self, input_ids: Sequence[int]) -> tuple[int, ...]:
        """Return labels ``[T]``: the ids of answers with their end tokens, -100 elsewhere.

        >>> strategy = MaskingStrategy(response=(1, 7), instruction=(1, 8), ends=frozenset({2}))
        >>> strategy.apply([1, 8, 5, 2, 1, 7, 6, 2, 3])
        (-100, -100, -100, -100, -100, -100, 6, 2, -100)
        """
        if not self._response:
            return tuple(input_ids)
        ids = tuple(input_ids)
        labels = [IGNORED_LABEL] * len(ids)
        at = 0
        while at < len(ids):
            if not _stands_at(ids, at, self._response):
                at += 1
                continue
            start = self._after_preludes(ids, at + len(self._response))
            at = self._end_of_answer(ids, start)
            labels[start:at] = ids[start:at]
        return tuple(labels)

    def agrees(self, row: EncodedExample) -> bool:
        """Tell whether the markers find exactly what the renderer of a chat row trains."""
        return self.apply(row.input_ids) == row.labels

    def _after_preludes(self, ids: Ids, at: int) -> int:
        """Return the place after the prelude that stands here, if one does."""
        for prelude in self._preludes:
            if _stands_at(ids, at, prelude):
                return at + len(prelude)
        return at

    def _end_of_answer(self, ids: Ids, start: int) -> int:
        """Return the place after an answer: past its end token, or before what follows it."""
        for at in range(start, len(ids)):
            if ids[at] in self._ends:
                return at + 1
            if _stands_at(ids, at, self._instruction) or _stands_at(ids, at, self._response):
                return at
        return len(ids)


def _stands_at(ids: Ids, at: int, pattern: Ids) -> bool:
    """Tell whether a pattern stands at a place."""
    return ids[at : at + len(pattern)] == pattern


def _ids(text: str, tokenizer: TextTokenizer) -> Ids | None:
    """Return the ids of a marker: control tokens by id, the rest as text; None if it has none."""
    found: list[int] = []
    for piece in filter(None, _CONTROL.split(text)):
        if _CONTROL.fullmatch(piece) is None:
            found += tokenizer.encode(piece)
            continue
        token_id = tokenizer.control_token_id(piece)
        if token_id is None:
            return None
        found.append(token_id)
    return tuple(found)
