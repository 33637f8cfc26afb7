"""From examples to token ids and labels, and to the prompts that a model is asked with."""

from __future__ import annotations

from collections import Counter
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal

from fim.data.window import encode_sides, encode_window
from fim.errors import (
    AllTokensMaskedError,
    EmptyDatasetError,
    InvalidExampleError,
    PromptTooLongError,
)
from fim.packing import RowBudget, fit_prompt
from fim.types import (
    IGNORED_LABEL,
    Cut,
    DropReport,
    EncodedExample,
    EncodedPrompt,
    EncodedSegment,
    FimExample,
    Progress,
    Segment,
    SegmentKind,
    TextTokenizer,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fim.formats import ResolvedFormat

LossOn = Literal["middle", "all"]

MIDDLE_TOO_LONG = "middle_too_long"
PROMPT_TOO_LONG = "prompt_too_long"

_BY_ID = frozenset({SegmentKind.CONTROL, SegmentKind.END})
_FROM_THE_LEFT = frozenset({SegmentKind.SUFFIX, SegmentKind.CONTEXT})
_FROM_THE_RIGHT = frozenset({SegmentKind.PREFIX, SegmentKind.ANCHOR})


@dataclass(frozen=True, slots=True)
class EncodedSet:
    """Training rows, what was dropped, and how many middles the tokenizer cannot give back.

    A middle does not round-trip when the tokenizer normalises it (Qwen composes to NFC) or lacks a
    byte; such rows are kept and counted.
    """

    rows: tuple[EncodedExample, ...]
    report: DropReport
    num_not_round_trip: int = 0

    @property
    def num_tokens(self) -> int:
        """Tokens of all rows."""
        return sum(len(row.input_ids) for row in self.rows)

    @property
    def num_supervised_tokens(self) -> int:
        """Tokens that carry loss."""
        return sum(num_supervised(row) for row in self.rows)


class ExampleEncoder:
    """Turns examples into ids with one format and one budget, the same for training and serving.

    Every segment is tokenised alone and control tokens are placed by id, so nothing merges across a
    boundary and no text acts as a control token.

    Args:
        resolved: The format, bound to the tokenizer.
        tokenizer: Encodes plain text; never yields control tokens.
        max_seq_length: Length of a row in tokens.
        middle_reserve_tokens: Tokens that every prompt leaves free for the middle.
        prefix_share: Part of the room for code that the prefix gets.
        max_context_items: Context items shown at most, the most relevant first.
        loss_on: ``middle`` trains the middle and its end token, ``all`` the whole row.
        is_cut_exact: Count cut tokens exactly. Otherwise only the part of a long text that can be
            kept is tokenised, and the counts of ``Cut`` are lower bounds for it.
    """

    def __init__(
        self,
        resolved: ResolvedFormat,
        tokenizer: TextTokenizer,
        *,
        max_seq_length: int,
        middle_reserve_tokens: int = 256,
        prefix_share: float = 0.75,
        max_context_items: int = 3,
        loss_on: LossOn = "middle",
        is_cut_exact: bool = False,
    ) -> None:
        self.resolved = resolved
        self.tokenizer = tokenizer
        self.max_seq_length = max_seq_length
        self.max_context_items = max_context_items
        self.loss_on = loss_on
        self._budget = RowBudget(max_seq_length, middle_reserve_tokens, prefix_share)
        self._is_cut_exact = is_cut_exact

    def with_format(self, resolved: ResolvedFormat) -> ExampleEncoder:
        """Return an encoder of another format with the same tokenizer and budget."""
        other = copy(self)
        other.resolved = resolved
        return other

    def prompt(self, example: FimExample, *, num_middle_tokens: int = 0) -> EncodedPrompt:
        """Return the ids to ask a model with; the example's middle is never looked at.

        Args:
            example: The hole; its middle may be anything.
            num_middle_tokens: Room to leave for the middle when that is more than the reserve.

        Raises:
            PromptTooLongError: What the format adds is alone longer than the prompt may be.
        """
        prompt = self._fit(example, num_middle_tokens)
        if prompt is None:
            raise PromptTooLongError(
                f"a row of {self.max_seq_length} tokens leaves "
                f"{self._budget.prompt_tokens(num_middle_tokens)} for the prompt, less than the "
                f"format {self.resolved.format.name!r} itself needs",
                hint="raise FIM_MODEL_MAX_SEQ_LENGTH or lower FIM_DATA_MIDDLE_RESERVE_TOKENS",
            )
        return prompt

    def encode(self, example: FimExample) -> EncodedExample:
        """Return a training row: ``input_ids [T]`` and ``labels [T]``, T at most the row's length.

        Raises:
            InvalidExampleError: The middle does not fit into a row, or the format itself does not.
        """
        row = self.try_encode(example)
        if isinstance(row, str):
            raise InvalidExampleError(
                f"example {example.id or '(without id)'} does not fit into a row of "
                f"{self.max_seq_length} tokens ({row}); a middle is never cut, since that would "
                "teach the model to stop anywhere",
                hint="raise FIM_MODEL_MAX_SEQ_LENGTH or leave the example out",
                context={"reason": row},
            )
        return row

    def try_encode(self, example: FimExample) -> EncodedExample | str:
        """Return a training row, or the reason under which the example is counted as dropped."""
        middle_ids = encode_window(
            self.tokenizer, example.middle, num_tokens=self.max_seq_length, side="head"
        )
        prompt = self._fit(example, len(middle_ids))
        if prompt is None:
            return MIDDLE_TOO_LONG if self._fit(example, 0) else PROMPT_TOO_LONG
        return self._row(example, prompt, tuple(middle_ids))

    def round_trips(self, row: EncodedExample) -> bool:
        """Tell whether the row's middle and end token decode to exactly the example's."""
        decoded = self.tokenizer.decode(row.input_ids[row.prompt_length :])
        return decoded == row.example.middle + self.resolved.format.end_token

    def _row(
        self, example: FimExample, prompt: EncodedPrompt, middle_ids: tuple[int, ...]
    ) -> EncodedExample:
        end_id = self.resolved.end_id
        end_token = self.resolved.format.end_token
        answer = (
            EncodedSegment(SegmentKind.MIDDLE, example.middle, middle_ids, trained=True),
            EncodedSegment(SegmentKind.END, end_token, (end_id,), trained=True),
        )
        input_ids = (*prompt.ids, *middle_ids, end_id)
        segments = prompt.segments + answer
        labels = (*(IGNORED_LABEL,) * len(prompt.ids), *middle_ids, end_id)
        if self.loss_on == "all":
            labels = input_ids
            segments = tuple(replace(segment, trained=True) for segment in segments)
        return EncodedExample(
            input_ids=input_ids,
            labels=labels,
            prompt_length=len(prompt.ids),
            segments=segments,
            cut=prompt.cut,
            example=example,
        )

    def _fit(self, example: FimExample, num_middle_tokens: int) -> EncodedPrompt | None:
        max_tokens = self._budget.prompt_tokens(num_middle_tokens)
        if max_tokens < 1:
            return None
        shown = example.context[: self.max_context_items]
        known: dict[Segment, tuple[int, ...]] = {}
        for num_items in range(len(shown), -1, -1):
            candidate = replace(example, context=shown[:num_items])
            segments = self._encode_prompt(candidate, max_tokens, known)
            if num_items and sum(len(segment.ids) for segment in segments) > max_tokens:
                continue
            fitted = fit_prompt(
                segments, max_tokens=max_tokens, prefix_share=self._budget.prefix_share
            )
            return _finish(fitted, num_given=len(example.context))
        return None

    def _encode_prompt(
        self, example: FimExample, max_tokens: int, known: dict[Segment, tuple[int, ...]]
    ) -> list[EncodedSegment]:
        segments = self.resolved.format.render(example, with_middle=False)
        missing = [segment for segment in segments if segment not in known]
        if not self._is_cut_exact:
            known.update(self._encode_around(missing, max_tokens))
        encoded = []
        for segment in segments:
            if segment not in known:
                known[segment] = tuple(self._encode_segment(segment, max_tokens))
            ids = known[segment]
            encoded.append(EncodedSegment(segment.kind, segment.text, ids, segment.trained))
        return encoded

    def _encode_around(
        self, segments: Sequence[Segment], max_tokens: int
    ) -> dict[Segment, tuple[int, ...]]:
        """Return ids of the text before and after the hole: all that a prompt can keep of each."""
        before = [segment for segment in segments if segment.kind in _FROM_THE_RIGHT]
        after = [segment for segment in segments if segment.kind is SegmentKind.SUFFIX]
        if not before or not after:
            return {}
        texts = encode_sides(
            self.tokenizer,
            [segment.text for segment in before],
            [segment.text for segment in after],
            num_tokens=max_tokens,
            before_share=self._budget.prefix_share,
        )
        return dict(zip((*before, *after), map(tuple, texts), strict=True))

    def _encode_segment(self, segment: Segment, max_tokens: int) -> Sequence[int]:
        kind, text = segment.kind, segment.text
        if kind in _BY_ID:
            return (self.resolved.token_ids[text],)
        if not self._is_cut_exact and kind in _FROM_THE_LEFT:
            return encode_window(self.tokenizer, text, num_tokens=max_tokens, side="head")
        if not self._is_cut_exact and kind in _FROM_THE_RIGHT:
            return encode_window(self.tokenizer, text, num_tokens=max_tokens, side="tail")
        return self.tokenizer.encode(text)


def encode_examples(
    examples: Iterable[FimExample], encoder: ExampleEncoder, *, progress: Progress | None = None
) -> EncodedSet:
    """Encode examples in order; what does not fit is dropped and counted.

    Raises:
        EmptyDatasetError: No example is left.
        AllTokensMaskedError: A row has no trained token.
    """
    return collect_rows(
        map(encoder.try_encode, examples),
        max_seq_length=encoder.max_seq_length,
        round_trips=encoder.round_trips,
        progress=progress,
    )


def collect_rows(
    results: Iterable[EncodedExample | str],
    *,
    max_seq_length: int,
    round_trips: Callable[[EncodedExample], bool],
    progress: Progress | None = None,
) -> EncodedSet:
    """Collect rows, and count the reasons that stand in place of a row.

    Raises:
        EmptyDatasetError: There is no row.
        AllTokensMaskedError: A row has no trained token.
    """
    rows: list[EncodedExample] = []
    dropped: Counter[str] = Counter()
    num_seen = 0
    for row in results:
        num_seen += 1
        if isinstance(row, str):
            dropped[row] += 1
        else:
            rows.append(row)
        if progress is not None:
            progress.advance(num_seen)
    report = DropReport(num_seen, len(rows), dict(dropped))
    if not rows:
        raise EmptyDatasetError(
            f"none of {num_seen} examples fits into rows of {max_seq_length} tokens: "
            f"{dict(dropped) or 'there were none'}",
            hint="raise FIM_MODEL_MAX_SEQ_LENGTH, or take other data",
            context=report.as_json(),
        )
    require_supervised(rows)
    num_lossy = sum(not round_trips(row) for row in rows)
    return EncodedSet(tuple(rows), report, num_not_round_trip=num_lossy)


def num_supervised(row: EncodedExample) -> int:
    """Return how many tokens of a row carry loss."""
    return len(row.labels) - row.labels.count(IGNORED_LABEL)


def require_supervised(rows: Iterable[EncodedExample]) -> None:
    """Refuse rows without a trained token: their loss is not a number.

    Raises:
        AllTokensMaskedError: A row has no trained token.
    """
    for index, row in enumerate(rows):
        if not num_supervised(row):
            raise AllTokensMaskedError(
                f"row {index} (example {row.example.id or 'without id'}) has {len(row.labels)} "
                "tokens and no label, so its loss would be NaN or a silent zero",
                hint="look at the example with: fim data inspect DATA --index N",
            )


def _finish(
    fitted: tuple[tuple[EncodedSegment, ...], Cut] | None, *, num_given: int
) -> EncodedPrompt | None:
    if fitted is None:
        return None
    segments, cut = fitted
    num_shown = sum(segment.kind is SegmentKind.CONTEXT for segment in segments)
    return EncodedPrompt(
        ids=tuple(chain.from_iterable(segment.ids for segment in segments)),
        segments=segments,
        cut=replace(cut, context_items=num_given - num_shown),
    )
