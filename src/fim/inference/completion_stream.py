"""A completion as it grows: pieces of text, then the finished completion."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fim.inference.generate import LENGTH, GeneratedIds, TokenStream
from fim.inference.text_stream import CompletionText
from fim.types import Completion

_MILLISECONDS_PER_SECOND = 1000.0


class CompletionStream(Iterator[str]):
    """Pieces of one completion; they never split a character and join to exactly its text.

    Args:
        tokens: The ids as they are generated.
        text: Turns them into text.
        prompt_ids: What the model was asked with.
        started: When the request came, by ``time.perf_counter``.
    """

    def __init__(
        self,
        tokens: TokenStream,
        text: CompletionText,
        *,
        prompt_ids: tuple[int, ...],
        started: float,
    ) -> None:
        self._tokens = tokens
        self._text = text
        self._prompt_ids = prompt_ids
        self._started = started
        self._completion: Completion | None = None

    def __next__(self) -> str:
        """Return the next piece, waiting for the model."""
        while self._completion is None:
            piece = self._advance()
            if piece:
                return piece
        raise StopIteration

    def result(self) -> Completion:
        """Return the completion, generating what is left of it."""
        while self._completion is None:
            self._advance()
        return self._completion

    def _advance(self) -> str:
        """Take one id and return the text that it releases; close the completion at its end."""
        token_id = next(self._tokens, None)
        if token_id is None:
            return self._close()
        piece = self._text.push(token_id)
        return piece + self._close() if self._text.stopped_by else piece

    def _close(self) -> str:
        answer = self._tokens.result()
        rest = self._text.finish(truncated=answer.stop_reason == LENGTH)
        self._completion = completion_of(
            self._text, answer, self._prompt_ids, time.perf_counter() - self._started
        )
        return rest


def completion_of(
    text: CompletionText, answer: GeneratedIds, prompt_ids: tuple[int, ...], seconds: float
) -> Completion:
    """Return the completion of a finished text."""
    return Completion(
        text=text.text,
        token_ids=answer.ids,
        stop_reason=text.stopped_by or answer.stop_reason,
        milliseconds=seconds * _MILLISECONDS_PER_SECOND,
        prompt_ids=prompt_ids,
    )
