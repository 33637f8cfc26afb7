"""Generation with a key-value cache: many answers at a time, and streams of single ids."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fim.errors import InferenceError, PromptTooLongError
from fim.inference.healing import Respelling, constrain
from fim.inference.sampling import GenerationOptions, TokenChooser

if TYPE_CHECKING:
    import torch

    from fim.inference.decoder import BatchDecoder
    from fim.inference.rows import FastModel, RowBatch

END = "end"
LENGTH = "length"
JOINING_SHARE = 0.125


class GenerationWatcher:
    """Follows a batch; every method may be overridden.

    Args:
        gold: Ids of the true answer by the prompt's index, to be scored with the prompt's pass.
    """

    def __init__(self, gold: Mapping[int, Sequence[int]] | None = None) -> None:
        self.gold = dict(gold or {})

    def token(self, index: int, token_id: int) -> str | None:
        """Take a new id of a prompt's answer; return a reason to end the answer, or None."""
        del index, token_id
        return None

    def scored(self, index: int, losses: list[float]) -> None:
        """Take the losses of a true answer's tokens, where the cache allows to score it here."""

    def done(self, index: int) -> None:
        """Note that a prompt's answer is complete."""


@dataclass(frozen=True, slots=True)
class GeneratedIds:
    """The ids of one answer, without the stop token, and why it ended."""

    ids: tuple[int, ...]
    stop_reason: str


@dataclass(frozen=True, slots=True)
class AnswerLimit:
    """Most tokens of an answer, and most with those that only spell the prompt's end again."""

    answer_tokens: int
    all_tokens: int


@dataclass(slots=True)
class _Row:
    index: int
    limit: AnswerLimit
    respelling: Respelling | None
    num_generated: int = 0
    ids: list[int] = field(default_factory=list)
    stop_reason: str | None = None

    @property
    def is_full(self) -> bool:
        return (
            len(self.ids) >= self.limit.answer_tokens or self.num_generated >= self.limit.all_tokens
        )

    def push(self, token_id: int) -> None:
        self.num_generated += 1
        if self.respelling is None or self.respelling.take(token_id):
            self.ids.append(token_id)

    def result(self) -> GeneratedIds:
        return GeneratedIds(tuple(self.ids), self.stop_reason or LENGTH)


@dataclass(frozen=True, slots=True)
class _Task:
    prompts: Sequence[Sequence[int]]
    options: GenerationOptions
    stop_ids: frozenset[int]
    batch_size: int
    watcher: GenerationWatcher


def generate_batch(
    model: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    *,
    options: GenerationOptions,
    stop_ids: Collection[int],
    pad_id: int,
    batch_size: int = 16,
    watcher: GenerationWatcher | None = None,
    respellings: Sequence[Respelling] | None = None,
    fast: FastModel | None = None,
) -> list[GeneratedIds]:
    """Generate an answer for every prompt, many at a time.

    Prompts are sorted by length; rows that are done leave the batch, and on a fast model the next
    prompts take their place. Greedy answers in float32 are those of one-by-one generation.

    Args:
        model: A causal language model of transformers.
        prompts: Prompt ids.
        options: How tokens are chosen.
        stop_ids: Ids that end an answer.
        pad_id: Id that fills short rows.
        batch_size: Prompts generated together.
        watcher: Is told of every id, may end answers and may ask for true answers to be scored.
        respellings: What each answer has to spell first; those ids are not part of the answer.
        fast: The model in the form that is fast on a CPU, where there is one.

    Raises:
        InferenceError: A prompt is empty.
        PromptTooLongError: A prompt leaves no room in the model's window.
    """
    from fim.inference.decoder import BatchDecoder

    spelled = list(respellings) if respellings is not None else [None] * len(prompts)
    limits = [
        answer_limit(model, prompt, options, respelling)
        for prompt, respelling in zip(prompts, spelled, strict=True)
    ]
    watcher = watcher or GenerationWatcher()
    task = _Task(prompts, options, frozenset(stop_ids), batch_size, watcher)
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]), reverse=True)
    rows = [_Row(index, limits[index], spelled[index]) for index in order]
    if fast is not None and rows:
        _run(task, rows, _row_batch(fast, task, rows))
    else:
        most = max((limit.all_tokens for limit in limits), default=0)
        for start in range(0, len(rows), batch_size):
            decoder = BatchDecoder(model, pad_id=pad_id, max_new_tokens=most)
            _run(task, rows[start : start + batch_size], decoder)
    results = {row.index: row.result() for row in rows}
    return [results[index] for index in range(len(prompts))]


class TokenStream(Iterator[int]):
    """Ids of one answer as they are generated; ``stop_reason`` is set once they are exhausted.

    Args:
        model: A causal language model of transformers.
        prompt: Prompt ids.
        options: How tokens are chosen.
        stop_ids: Ids that end the answer; they are not yielded.
        pad_id: An id that the model's vocabulary holds.
        respelling: What has to be spelled first.
        draft: Ids that are likely to come first.
        fast: The model in the form that is fast on a CPU, where there is one.

    Raises:
        InferenceError: The prompt is empty.
        PromptTooLongError: The prompt leaves no room in the model's window.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        prompt: Sequence[int],
        *,
        options: GenerationOptions,
        stop_ids: Collection[int],
        pad_id: int,
        respelling: Respelling | None = None,
        draft: Sequence[int] = (),
        fast: FastModel | None = None,
    ) -> None:
        from fim.inference.decoder import BatchDecoder
        from fim.inference.drafting import DraftedLogits

        limit = answer_limit(model, prompt, options, respelling)
        self._row = _Row(0, limit, respelling)
        self._stop_ids = frozenset(stop_ids)
        num_new = limit.all_tokens
        self._decoder: DraftedLogits | BatchDecoder = (
            BatchDecoder(model, pad_id=pad_id, max_new_tokens=num_new)
            if fast is None
            else DraftedLogits(fast, draft=draft, num_new=num_new)
        )
        self._prompt = prompt
        self._chooser = TokenChooser(options, [prompt], [0])
        self._chosen: torch.Tensor | None = None

    def __next__(self) -> int:
        """Return the next id, waiting for the model."""
        row = self._row
        if row.stop_reason is None and row.is_full:
            row.stop_reason = LENGTH
        if row.stop_reason is not None:
            raise StopIteration
        before = self._chosen
        logits = (
            self._decoder.read([self._prompt])[0] if before is None else self._decoder.step(before)
        )
        self._chosen = self._chooser.choose(constrain(logits, [row.respelling]))
        token_id = int(self._chosen[0])
        if token_id in self._stop_ids:
            row.stop_reason = END
            raise StopIteration
        row.push(token_id)
        return token_id

    def result(self) -> GeneratedIds:
        """Return the answer so far."""
        return self._row.result()


def answer_limit(
    model: torch.nn.Module,
    prompt: Sequence[int],
    options: GenerationOptions,
    respelling: Respelling | None = None,
) -> AnswerLimit:
    """Return how much may be generated after a prompt.

    Raises:
        InferenceError: The prompt is empty.
        PromptTooLongError: The prompt leaves no room in the model's window.
    """
    from fim.inference.decoder import position_limit

    if not prompt:
        raise InferenceError(
            "the prompt is empty, so the model has nothing to go on",
            hint="give a prefix or a suffix of at least one character",
        )
    window = position_limit(model)
    most = options.max_new_tokens + (len(respelling.rest) if respelling else 0)
    if window is None:
        return AnswerLimit(options.max_new_tokens, most)
    if len(prompt) >= window:
        raise PromptTooLongError(
            f"the prompt has {len(prompt)} tokens and the model's window {window}, "
            "so there is no room for an answer",
            hint="lower model.max_seq_length or send less context",
            context={"prompt_tokens": len(prompt), "window_tokens": window},
        )
    return AnswerLimit(options.max_new_tokens, min(most, window - len(prompt)))


def _row_batch(fast: FastModel, task: _Task, rows: Sequence[_Row]) -> RowBatch:
    from fim.inference.rows import RowBatch

    capacity = max(
        len(task.prompts[row.index])
        + max(row.limit.all_tokens, len(task.watcher.gold.get(row.index, ())))
        for row in rows
    )
    return RowBatch(fast, min(len(rows), task.batch_size), capacity)


def _run(task: _Task, rows: Sequence[_Row], decoder: BatchDecoder | RowBatch) -> None:
    """Generate the answers of rows; those that find no room at first wait for others to leave."""
    import torch

    waiting, active = list(rows), list[_Row]()
    chooser = TokenChooser(task.options, [], [])
    parts: list[torch.Tensor] = []
    while True:
        room = task.batch_size - len(active)
        if waiting and (not active or room >= JOINING_SHARE * task.batch_size):
            joining, waiting = waiting[:room], waiting[room:]
            parts.append(_read_prompts(task, decoder, joining))
            chooser.join([task.prompts[row.index] for row in joining], [r.index for r in joining])
            active += joining
        logits = parts[0] if len(parts) == 1 else torch.cat(parts)
        chosen = chooser.choose(constrain(logits, [row.respelling for row in active]))
        for row, token_id in zip(active, chosen.tolist(), strict=True):
            if row.stop_reason is None:
                _accept(task, row, token_id)
        staying = _staying([row.stop_reason is None for row in active])
        if not staying and not waiting:
            return
        if len(active) - len(staying) >= max(1, decoder.leaving_share * len(active)):
            decoder.keep(staying)
            chooser.keep(staying)
            chosen = chosen[staying]
            active = [active[slot] for slot in staying]
        parts = [decoder.step(chosen)] if staying else []


def _staying(is_alive: Sequence[bool]) -> list[int]:
    """Return the slots that are alive, the last ones in the places of those that are not."""
    alive = [slot for slot, each in enumerate(is_alive) if each]
    last = alive[::-1]
    return [slot if is_alive[slot] else last.pop(0) for slot in range(len(alive))]


def _read_prompts(
    task: _Task, decoder: BatchDecoder | RowBatch, rows: Sequence[_Row]
) -> torch.Tensor:
    """Return the first logits of rows, scoring true answers on the way where there are some."""
    gold = [task.watcher.gold.get(row.index, ()) for row in rows]
    logits, losses = decoder.read([task.prompts[row.index] for row in rows], gold)
    if losses:
        for row, answer, values in zip(rows, gold, losses, strict=True):
            if answer:
                task.watcher.scored(row.index, values)
    return logits


def _accept(task: _Task, row: _Row, token_id: int) -> None:
    """Add an id to a row and note whether the row ends with it."""
    if token_id in task.stop_ids:
        row.stop_reason = END
    else:
        row.push(token_id)
        row.stop_reason = task.watcher.token(row.index, token_id)
        if row.stop_reason is None and row.is_full:
            row.stop_reason = LENGTH
    if row.stop_reason is not None:
        task.watcher.done(row.index)
