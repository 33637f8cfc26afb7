"""Rows of a mixture: holes in the run's format, holes with the suffix first, plain code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fim.data.encode import EncodedSet, ExampleEncoder, collect_rows
from fim.data.mixture import MixedExample, MixedSet, RowRole
from fim.data.plain_rows import PlainEncoder
from fim.data.prompt_loss import NO_PROMPT_LOSS, PromptLoss
from fim.errors import ConflictingSettingsError
from fim.formats import resolve_format

if TYPE_CHECKING:
    from fim.types import EncodedExample, Progress

SUFFIX_FIRST = "spm2"
PLAIN_REPEATS = "plain_repeats"


class MixtureEncoder:
    """Encodes every example of a mixture as the kind of row that it was chosen to be.

    Holes of one short file would give the same plain row again and again: only the first is kept.

    Args:
        encoder: Encoder of the run's own format.
        is_extended: The tokenizer was given control tokens that it lacked.
        prompt_loss: Which of the prompt's tokens rows with a hole train too.
    """

    def __init__(
        self,
        encoder: ExampleEncoder,
        *,
        is_extended: bool = False,
        prompt_loss: PromptLoss = NO_PROMPT_LOSS,
    ) -> None:
        self._encoder = encoder
        self._prompt_loss = prompt_loss
        self._is_extended = is_extended
        self._suffix_first: ExampleEncoder | None = None
        self._plain: PlainEncoder | None = None
        self._plain_ids: set[tuple[int, ...]] = set()

    def try_encode(self, mixed: MixedExample) -> EncodedExample | str:
        """Return a training row, or the reason under which the example is counted as dropped.

        Raises:
            ConflictingSettingsError: Suffix-first rows are asked of a format that is no ``psm``.
            FormatUnsupportedError: The tokenizer lacks the control tokens of such a row.
        """
        match mixed.role:
            case RowRole.FIM:
                return self._hole_row(self._encoder, mixed)
            case RowRole.SPM:
                return self._hole_row(self._spm_encoder(), mixed)
            case RowRole.PLAIN:
                return self._plain_row(mixed)

    def round_trips(self, row: EncodedExample) -> bool:
        """Tell whether the trained text of a row decodes to exactly the example's."""
        if self._plain is not None and self._plain.made(row):
            return self._plain.round_trips(row)
        return self._encoder.round_trips(row)

    def _hole_row(self, encoder: ExampleEncoder, mixed: MixedExample) -> EncodedExample | str:
        row = encoder.try_encode(mixed.example)
        return row if isinstance(row, str) else self._prompt_loss.add_to(row)

    def _plain_row(self, mixed: MixedExample) -> EncodedExample | str:
        row = self._plain_encoder().encode(mixed.example)
        if row.input_ids in self._plain_ids:
            return PLAIN_REPEATS
        self._plain_ids.add(row.input_ids)
        return row

    def _spm_encoder(self) -> ExampleEncoder:
        if self._suffix_first is None:
            main = self._encoder.resolved.format
            if main.order != "psm":
                raise ConflictingSettingsError(
                    f"data.spm_share mixes suffix-first rows into the format {main.name!r}, whose "
                    f"order is {main.order!r}: only rows of the order 'psm' share their tokens and "
                    "end with them",
                    hint="set data.spm_share=0, or data.format=psm",
                )
            resolved = resolve_format(
                SUFFIX_FIRST, self._encoder.tokenizer, is_extended=self._is_extended
            )
            self._suffix_first = self._encoder.with_format(resolved)
        return self._suffix_first

    def _plain_encoder(self) -> PlainEncoder:
        if self._plain is None:
            tokenizer = self._encoder.tokenizer
            resolved = resolve_format("left-to-right", tokenizer, is_extended=self._is_extended)
            self._plain = PlainEncoder(
                resolved, tokenizer, max_seq_length=self._encoder.max_seq_length
            )
        return self._plain


def encode_mixture(
    mixed: MixedSet,
    encoder: ExampleEncoder,
    *,
    is_extended: bool = False,
    prompt_loss: PromptLoss = NO_PROMPT_LOSS,
    progress: Progress | None = None,
) -> EncodedSet:
    """Encode a mixture in order; what does not fit is dropped and counted.

    Raises:
        EmptyDatasetError: No example is left.
        AllTokensMaskedError: A row has no trained token.
        ConflictingSettingsError: Suffix-first rows are asked of a format that is no ``psm``.
        FormatUnsupportedError: The tokenizer lacks the control tokens of a kind of row.
    """
    rows = MixtureEncoder(encoder, is_extended=is_extended, prompt_loss=prompt_loss)
    return collect_rows(
        (rows.try_encode(each) for each in mixed.examples),
        max_seq_length=encoder.max_seq_length,
        round_trips=rows.round_trips,
        progress=progress,
    )
