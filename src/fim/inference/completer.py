"""CodeCompleter: the text for a hole, whole, as a stream, or for many holes at once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Unpack

from fim.inference.batch import BatchWatcher, scorable_gold
from fim.inference.completion_stream import CompletionStream
from fim.inference.generate import TokenStream, generate_batch
from fim.inference.gold import gold_row
from fim.inference.healing import HealedPrompt, TokenHealer
from fim.inference.sampling import GenerationOptions, GenerationOverrides
from fim.inference.score import GoldScore, gold_score, score_batch
from fim.inference.stops import StopRule, stop_rule
from fim.inference.text_stream import CompletionText, TextAssembler
from fim.types import Completion, ContextItem, EncodedExample, FimExample, Progress

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from fim.config import InferSettings
    from fim.inference.protocols import PromptEncoder
    from fim.inference.rows import FastModel


class CodeCompleter:
    """Completes code with a model and the format that the model was trained on.

    The text is exactly what is to be inserted: never stripped, never fenced. It ends at a stop
    token, at the token limit, or where a stop rule says, of the settings or given.

    Args:
        model: A causal language model of transformers, with or without an adapter.
        encoder: Makes the prompts.
        settings: Defaults of generation.
        control_ids: Ids besides the format's own that never become text.
        is_frozen: The weights stay what they are, so that their fast form is made once; it is
            made for every batch, and freed after it, where they may be trained in between.
    """

    def __init__(
        self,
        *,
        model: torch.nn.Module,
        encoder: PromptEncoder,
        settings: InferSettings,
        control_ids: Collection[int] = (),
        is_frozen: bool = False,
    ) -> None:
        self.model = model
        self._is_frozen = is_frozen
        self.encoder = encoder
        self.settings = settings
        resolved = encoder.resolved
        self._control_ids = frozenset(
            [*control_ids, *resolved.token_ids.values(), *resolved.stop_ids, resolved.pad_id]
        )
        self._stop = stop_rule(settings.stop)
        self._healer = TokenHealer(encoder.tokenizer, is_wanted=settings.token_healing)

    @cached_property
    def _fast(self) -> FastModel | None:
        """The model as single completions use it; made with the first one."""
        return self._new_fast()

    def _new_fast(self) -> FastModel | None:
        from fim.inference.fast import fast_form

        return fast_form(self.model)

    def _fast_now(self) -> FastModel | None:
        """Return the fast form of the weights as they are now."""
        return self._fast if self._is_frozen else self._new_fast()

    def complete(
        self,
        prefix: str,
        suffix: str,
        *,
        language: str = "",
        context: Sequence[ContextItem] = (),
        path: str | None = None,
        repo: str | None = None,
        stop: StopRule | None = None,
        **overrides: Unpack[GenerationOverrides],
    ) -> Completion:
        """Return the text between prefix and suffix.

        Args:
            prefix: Text before the cursor.
            suffix: Text after the cursor.
            language: Name of the language, for formats that show it.
            context: Pieces of other files, the most relevant first.
            path: Path of the file from its repository's top, for formats that show it.
            repo: Name of its repository, for formats that show it.
            stop: A rule that ends the completion early; the settings' by default.
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
            repo=repo,
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
        repo: str | None = None,
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
            repo=repo,
        )
        prompt = self.encoder.prompt(example)
        healed = self._healer.heal(prompt)
        tokens = TokenStream(
            self.model,
            healed.ids,
            options=GenerationOptions.from_settings(self.settings, overrides),
            stop_ids=self.encoder.resolved.stop_ids,
            pad_id=self.encoder.resolved.pad_id,
            respelling=self._healer.respelling(healed),
            draft=healed.removed,
            fast=self._fast,
        )
        text = self._new_text(stop or self._stop, example, healed)
        return CompletionStream(tokens, text, prompt_ids=prompt.ids, started=started)

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
            stop: A rule that ends completions early; the settings' by default.
            max_new_tokens: Longest completion; the settings' by default.
            batch_size: Completions generated together; the settings' by default.
            progress: Is advanced by the completions done; opened and closed by the caller.

        Raises:
            InvalidSettingError: A generation parameter is out of range.
            PromptTooLongError: A prompt does not fit.
        """
        completions, _ = self._run_batch(examples, {}, stop, max_new_tokens, batch_size, progress)
        return completions

    def complete_and_score(
        self,
        examples: Sequence[FimExample],
        *,
        stop: StopRule | None = None,
        max_new_tokens: int | None = None,
        batch_size: int | None = None,
        progress: Progress | None = None,
    ) -> tuple[list[Completion], list[GoldScore | None]]:
        """Return what ``complete_batch`` and ``score_gold`` return, reading every prompt once.

        Args:
            examples: The holes with their middles, which only the scores look at.
            stop: A rule that ends completions early; the settings' by default.
            max_new_tokens: Longest completion; the settings' by default.
            batch_size: Holes worked on together; the settings' by default.
            progress: Is advanced by the completions done; opened and closed by the caller.

        Raises:
            InvalidSettingError: A generation parameter is out of range.
            PromptTooLongError: A prompt does not fit.
        """
        rows = self._rows(examples)
        completions, losses = self._run_batch(
            examples, rows, stop, max_new_tokens, batch_size, progress
        )
        scores = {index: gold_score(rows[index], values) for index, values in losses.items()}
        rest = {index: row for index, row in rows.items() if index not in scores}
        scores |= self._score_rows(rest, batch_size, None)
        return completions, [scores.get(index) for index in range(len(examples))]

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
        scores = self._score_rows(self._rows(examples), batch_size, progress)
        return [scores.get(index) for index in range(len(examples))]

    def _rows(self, examples: Sequence[FimExample]) -> dict[int, EncodedExample]:
        is_healed = self.settings.token_healing
        encoded = [gold_row(self.encoder, example, is_healed=is_healed) for example in examples]
        return {index: row for index, row in enumerate(encoded) if isinstance(row, EncodedExample)}

    def _score_rows(
        self,
        rows: Mapping[int, EncodedExample],
        batch_size: int | None,
        progress: Progress | None,
    ) -> dict[int, GoldScore]:
        scores = score_batch(
            self.model,
            list(rows.values()),
            batch_size=batch_size or self.settings.batch_size,
            progress=progress,
            fast=self._fast_now() if rows else None,
        )
        return dict(zip(rows, scores, strict=True))

    def _run_batch(
        self,
        examples: Sequence[FimExample],
        rows: Mapping[int, EncodedExample],
        stop: StopRule | None,
        max_new_tokens: int | None,
        batch_size: int | None,
        progress: Progress | None,
    ) -> tuple[list[Completion], dict[int, list[float]]]:
        """Generate on a fast form of the weights as they are now."""
        overrides: GenerationOverrides = {}
        if max_new_tokens is not None:
            overrides["max_new_tokens"] = max_new_tokens
        options = GenerationOptions.from_settings(self.settings, overrides)
        asked = [self.encoder.prompt(example) for example in examples]
        prompts = [prompt.ids for prompt in asked]
        healed = [self._healer.heal(prompt) for prompt in asked]
        texts = [
            self._new_text(stop or self._stop, example, prompt)
            for example, prompt in zip(examples, healed, strict=True)
        ]
        watcher = BatchWatcher(texts, scorable_gold(rows, healed), progress)
        answers = generate_batch(
            self.model,
            [prompt.ids for prompt in healed],
            options=options,
            stop_ids=self.encoder.resolved.stop_ids,
            pad_id=self.encoder.resolved.pad_id,
            batch_size=batch_size or self.settings.batch_size,
            watcher=watcher,
            respellings=[self._healer.respelling(prompt) for prompt in healed],
            fast=self._fast_now() if healed else None,
        )
        return watcher.completions(answers, prompts), watcher.losses

    def _new_text(
        self, rule: StopRule, example: FimExample, healed: HealedPrompt
    ) -> CompletionText:
        assembler = TextAssembler(self.encoder.tokenizer, self._control_ids)
        return CompletionText(
            assembler,
            rule=rule,
            prefix=example.prefix,
            suffix=example.suffix,
            respelled=healed.text,
        )
