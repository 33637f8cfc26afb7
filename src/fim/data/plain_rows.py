"""Plain code rows: text read from left to right, all of it trained."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fim.data.window import encode_window
from fim.types import IGNORED_LABEL, Cut, EncodedExample, EncodedSegment, FimExample, SegmentKind

if TYPE_CHECKING:
    from fim.formats import ResolvedFormat
    from fim.types import TextTokenizer

PLAIN_KIND = "plain"
_CHARS_BEFORE_PER_TOKEN = 2
_BROKEN = "\ufffd"


class PlainEncoder:
    """Turns the text around a hole into a row of plain code.

    A text that is longer than the row loses its start up to a line near the hole, and its end; only
    a text whose end is there gets a trained end token, since stopping in the middle of a file is
    nothing to learn.

    Args:
        resolved: The left-to-right format, bound to the tokenizer.
        tokenizer: Encodes plain text.
        max_seq_length: Length of a row in tokens.
    """

    def __init__(
        self, resolved: ResolvedFormat, tokenizer: TextTokenizer, *, max_seq_length: int
    ) -> None:
        self._resolved = resolved
        self._tokenizer = tokenizer
        opening = resolved.format.render(FimExample("", "", ""), with_middle=False)
        self._opening = tuple(
            EncodedSegment(each.kind, each.text, (resolved.token_ids[each.text],), trained=False)
            for each in opening
        )
        self._max_text_tokens = max_seq_length - len(self._opening) - 1

    def encode(self, example: FimExample) -> EncodedExample:
        """Return the row: ``input_ids [T]`` and ``labels [T]``, every token of the text trained.

        The row's example has the text as its middle and no prefix, suffix, context or document, so
        that nothing packs it with holes of the same file.
        """
        text = self._visible(example)
        all_ids = encode_window(
            self._tokenizer, text, num_tokens=self._max_text_tokens, side="head"
        )
        ids = tuple(all_ids[: self._max_text_tokens])
        is_cut = len(all_ids) > len(ids)
        shown = self._tokenizer.decode(ids).rstrip(_BROKEN) if is_cut else text
        segments = [EncodedSegment(SegmentKind.MIDDLE, shown, ids, trained=True)]
        if not is_cut:
            end_token, end_id = self._resolved.format.end_token, self._resolved.end_id
            segments.append(EncodedSegment(SegmentKind.END, end_token, (end_id,), trained=True))
        answer = tuple(token_id for segment in segments for token_id in segment.ids)
        prompt = tuple(token_id for segment in self._opening for token_id in segment.ids)
        return EncodedExample(
            input_ids=prompt + answer,
            labels=(IGNORED_LABEL,) * len(prompt) + answer,
            prompt_length=len(prompt),
            segments=(*self._opening, *segments),
            cut=Cut(),
            example=replace(
                example,
                prefix="",
                middle=shown,
                suffix="",
                context=(),
                document_id="",
                span_kind=PLAIN_KIND,
            ),
        )

    def made(self, row: EncodedExample) -> bool:
        """Tell whether a row is a plain row."""
        return row.example.span_kind == PLAIN_KIND

    def round_trips(self, row: EncodedExample) -> bool:
        """Tell whether the row's text decodes to exactly the example's."""
        has_end = row.segments[-1].kind is SegmentKind.END
        ending = self._resolved.format.end_token if has_end else ""
        decoded = self._tokenizer.decode(row.input_ids[row.prompt_length :])
        return (decoded if has_end else decoded.rstrip(_BROKEN)) == row.example.middle + ending

    def _visible(self, example: FimExample) -> str:
        kept = self._max_text_tokens * _CHARS_BEFORE_PER_TOKEN
        start = len(example.prefix) - kept
        if start > 0:
            newline = example.prefix.find("\n", start)
            start = newline + 1 if newline >= 0 else start
        return example.prefix[max(start, 0) :] + example.middle + example.suffix
