"""Turning generated ids into text piece by piece, without splitting a character."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.inference.stops import NONE, StopRule

if TYPE_CHECKING:
    from collections.abc import Collection

    from fim.types import TextTokenizer

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"


class TextAssembler:
    """Decode ids as they come; pieces join to exactly what decoding all ids at once gives.

    Control ids never become text. The bytes of an unfinished character are held back until the
    character is whole.

    Args:
        tokenizer: Decodes ids.
        control_ids: Ids that are dropped.
    """

    def __init__(self, tokenizer: TextTokenizer, control_ids: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._control_ids = frozenset(control_ids)
        self._settled: list[int] = []
        self._open: list[int] = []
        self._num_shown = 0

    def push(self, token_id: int) -> str:
        """Take one id and return the text that has become certain, often one token's text."""
        if token_id in self._control_ids:
            return ""
        self._open.append(token_id)
        text = self._decode_open()
        whole = text.rstrip(_UNFINISHED)
        piece = whole[self._num_shown :]
        self._num_shown = max(self._num_shown, len(whole))
        if whole == text:
            self._settled, self._open, self._num_shown = self._open, [], 0
        return piece

    def finish(self, *, truncated: bool) -> str:
        """Return what was held back.

        Args:
            truncated: Whether generation was cut off; the bytes of a character that was not
                finished are then dropped instead of shown as a replacement character.
        """
        text = "" if truncated or not self._open else self._decode_open()
        piece = text[self._num_shown :]
        self._settled, self._open, self._num_shown = [], [], 0
        return piece

    def _decode_open(self) -> str:
        """Decode the open ids behind the settled ones, whose text some tokenizers depend on."""
        before = self._tokenizer.decode(self._settled) if self._settled else ""
        return self._tokenizer.decode([*self._settled, *self._open])[len(before) :]


class CompletionText:
    """The text of one completion under a stop rule, grown id by id.

    Args:
        assembler: Turns ids into text.
        rule: Where the completion ends besides its stop tokens.
        prefix: The text before the cursor, which some rules look at.
        suffix: The text after it, likewise.
        respelled: What the ids spell before the completion begins; it is left out.
    """

    def __init__(
        self,
        assembler: TextAssembler,
        *,
        rule: StopRule = NONE,
        prefix: str = "",
        suffix: str = "",
        respelled: str = "",
    ) -> None:
        self._assembler = assembler
        self._rule = rule
        self._prefix = prefix
        self._suffix = suffix
        self._num_respelled = len(respelled)
        self._raw = ""
        self._num_released = 0
        self._cut: int | None = None

    @property
    def stopped_by(self) -> str | None:
        """Name of the rule once it has ended the completion."""
        return None if self._cut is None else self._rule.name

    @property
    def text(self) -> str:
        """Everything released so far; the whole completion after ``finish``."""
        return self._raw[: self._num_released]

    def push(self, token_id: int) -> str:
        """Take one id and return the text that nothing can take back any more."""
        return self._grow(self._assembler.push(token_id), final=False)

    def finish(self, *, truncated: bool) -> str:
        """Return the rest of the text, with the line end that the rule asks for.

        Args:
            truncated: Whether generation was cut off by its token limit.
        """
        if self._cut is not None:
            return ""
        rest = self._grow(self._assembler.finish(truncated=truncated), final=True)
        if truncated or self._cut is not None:
            return rest
        around = {"prefix": self._prefix, "suffix": self._suffix}
        line_end = self._rule.missing_line_end(self._raw, **around)
        self._raw += line_end
        self._num_released = len(self._raw)
        return rest + line_end

    def _grow(self, piece: str, *, final: bool) -> str:
        left_out = min(self._num_respelled, len(piece))
        self._num_respelled -= left_out
        piece = piece[left_out:]
        if not piece and not final:
            return ""
        self._raw += piece
        scan = self._rule.scan(self._raw, prefix=self._prefix, suffix=self._suffix, final=final)
        self._cut = scan.cut
        released = self._raw[self._num_released : scan.safe_chars]
        self._num_released = max(self._num_released, scan.safe_chars)
        return released
