"""CodeCompleter: the text for a hole, whole, as a stream, or for many holes at once."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Unpack

from fim.inference.generate import LENGTH, GeneratedIds, TokenStream, generate_batch
from fim.inference.sampling import GenerationOptions, GenerationOverrides
from fim.inference.score import GoldScore, score_batch
from fim.inference.stops import NONE, StopRule
from fim.inference.text_stream import CompletionText, TextAssembler
from fim.types import Completion, ContextItem, EncodedExample, FimExample, Progress

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from fim.config import InferSettings
    from fim.inference.protocols import PromptEncoder

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
        self._ids: list[int] = []
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
        self._ids.append(token_id)
        piece = self._text.push(token_id)
        return piece + self._close() if self._text.stopped_by else piece

    def _close(self) -> str:
        answer = GeneratedIds(tuple(self._ids), self._tokens.stop_reason or LENGTH)
        rest = self._text.finish(truncated=answer.stop_reason == LENGTH)
        self._completion = _completion(
            self._text, answer, self._prompt_ids, time.perf_counter() - self._started
        )
        return rest


class CodeCompleter:
    """Completes code with a model and the format that the model was trained on.

    The text is exactly what is to be inserted: never stripped, never fenced. It ends at a stop
    token, at the token limit, or where a stop rule says, when one is given.

    Args:
        model: A causal language model of transformers, with or without an adapter.
        encoder: Makes the prompts.
        settings: Defaults of generation.
        control_ids: Ids besides the format's own that never become text.
    """

    def __init__(
        self,
        *,
        model: torch.nn.Module,
        encoder: PromptEncoder,
        settings: InferSettings,
        control_ids: Collection[int] = (),
    ) -> None:
        self.model = model
        self.encoder = encoder
        self.settings = settings
        resolved = encoder.resolved
        self._control_ids = frozenset(
            [*control_ids, *resolved.token_ids.values(), *resolved.stop_ids, resolved.pad_id]
        )

    def complete(
        self,
        prefix: str,
        suffix: str,
        *,
        language: str = "",
        context: Sequence[ContextItem] = (),
        path: str | None = None,
        stop: StopRule | None = None,
        **overrides: Unpack[GenerationOverrides],
    ) -> Completion:
        """Return the text between prefix and suffix.

        Args:
            prefix: Text before the cursor.
            suffix: Text after the cursor.
            language: Name of the language, for formats that show it.
            context: Pieces of other files, the most relevant first.
            path: Path of the file, for formats that show it.
            stop: A rule that ends the completion early; none by default.
            **overrides: Generation parameters that differ from the settings.

        Raises:
            InvalidSettingError: A generation parameter is out of range.
            PromptTooLongError: The prompt does not fit.
        """
        return self.stream(
            prefix,
            suffix,
            language=language,
            context=context,
            path=path,
            stop=stop,
            **overrides,
        ).result()

    def stream(
        self,
        prefix: str,
        suffix: str,
        *,
        language: str = "",
        context: Sequence[ContextItem] = (),
        path: str | None = None,
        stop: StopRule | None = None,
        **overrides: Unpack[GenerationOverrides],
    ) -> CompletionStream:
        """Return the same text as ``complete``, piece by piece; errors come before the first one.

        Raises:
            InvalidSettingError: A generation parameter is out of range.
            PromptTooLongError: The prompt does not fit.
        """
        started = time.perf_counter()
        example = FimExample(
            prefix=prefix,
            middle="",
            suffix=suffix,
            context=tuple(context),
            language=language,
            path=path,
        )
        prompt_ids = self.encoder.prompt(example).ids
        tokens = TokenStream(
            self.model,
            prompt_ids,
            options=GenerationOptions.from_settings(self.settings, overrides),
            stop_ids=self.encoder.resolved.stop_ids,
            pad_id=self.encoder.resolved.pad_id,
        )
        text = self._new_text(stop or NONE, example)
        return CompletionStream(tokens, text, prompt_ids=prompt_ids, started=started)

    def complete_batch(
        self,
        examples: Sequence[FimExample],
        *,
        stop: StopRule | None = None,
        max_new_tokens: int | None = None,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> list[Completion]:
        """Return a completion for every example, in order; middles are never looked at.

        Args:
            examples: The holes.
            stop: A rule that ends completions early; none by default.
            max_new_tokens: Longest completion; the settings' by default.
            batch_size: Completions generated together; the settings' by default.
            progress: Is advanced by the completions done; opened and closed by the caller.

        Raises:
            InvalidSettingError: A generation parameter is out of range.
            PromptTooLongError: A prompt does not fit.
        """
        prompts = [self.encoder.prompt(example).ids for example in examples]
        watcher = _BatchWatcher(
            [self._new_text(stop or NONE, example) for example in examples], progress
        )
        overrides: GenerationOverrides = (
            {"max_new_tokens": max_new_tokens} if max_new_tokens else {}
        )
        answers = generate_batch(
            self.model,
            prompts,
            options=GenerationOptions.from_settings(self.settings, overrides),
            stop_ids=self.encoder.resolved.stop_ids,
            pad_id=self.encoder.resolved.pad_id,
            batch_size=batch_size or self.settings.batch_size,
            watch=watcher.watch,
            on_done=watcher.note_done,
        )
        return watcher.completions(answers, prompts)

    def score_gold(
        self,
        examples: Sequence[FimExample],
        *,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> list[GoldScore | None]:
        """Return how surprised the model is by every true middle; None where no row can be made.

        Args:
            examples: The holes with their middles.
            batch_size: Rows scored together; the settings' by default.
            progress: Is advanced by the rows done; opened and closed by the caller.
        """
        encoded = [self.encoder.try_encode(example) for example in examples]
        rows = {index: row for index, row in enumerate(encoded) if isinstance(row, EncodedExample)}
        scores = score_batch(
            self.model,
            list(rows.values()),
            batch_size=batch_size or self.settings.batch_size,
            progress=progress,
        )
        by_index = dict(zip(rows, scores, strict=True))
        return [by_index.get(index) for index in range(len(examples))]

    def _new_text(self, rule: StopRule, example: FimExample) -> CompletionText:
        assembler = TextAssembler(self.encoder.tokenizer, self._control_ids)
        return CompletionText(assembler, rule=rule, prefix=example.prefix)


class _BatchWatcher:
    """Follows the texts of a batch while it is generated."""

    def __init__(self, texts: Sequence[CompletionText], progress: Progress | None) -> None:
        self._texts = texts
        self._progress = progress
        self._started = time.perf_counter()
        self._seconds: dict[int, float] = {}

    def watch(self, index: int, token_id: int) -> str | None:
        """Take an id of one text and return the name of the rule that ends it, if one does."""
        self._texts[index].push(token_id)
        return self._texts[index].stopped_by

    def note_done(self, index: int) -> None:
        """Note the time at which one text was complete."""
        self._seconds[index] = time.perf_counter() - self._started
        if self._progress:
            self._progress.advance(len(self._seconds))

    def completions(
        self, answers: Sequence[GeneratedIds], prompts: Sequence[tuple[int, ...]]
    ) -> list[Completion]:
        """Return the finished completions in order."""
        completions = []
        for index, (text, answer) in enumerate(zip(self._texts, answers, strict=True)):
            text.finish(truncated=answer.stop_reason == LENGTH)
            completions.append(_completion(text, answer, prompts[index], self._seconds[index]))
        return completions


def _completion(
    text: CompletionText, answer: GeneratedIds, prompt_ids: tuple[int, ...], seconds: float
) -> Completion:
    return Completion(
        text=text.text,
        token_ids=answer.ids,
        stop_reason=text.stopped_by or answer.stop_reason,
        milliseconds=seconds * _MILLISECONDS_PER_SECOND,
        prompt_ids=prompt_ids,
    )
