"""Gold negative log-likelihood: how surprised a model is by the true middle."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fim.types import EncodedExample, Progress, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch
    from transformers import PreTrainedModel

    from fim.inference.rows import FastModel

_ROWS_PER_SOFTMAX = 512


@dataclass(frozen=True, slots=True)
class GoldScore:
    """Negative log-likelihood of one gold middle, in nats.

    Args:
        nll_sum_middle: Sum over the middle's tokens, without the end token.
        num_middle_tokens: How many tokens the middle has; 0 for an empty hole.
        nll_end: That of the end token; None where the row has none.
    """

    nll_sum_middle: float
    num_middle_tokens: int
    nll_end: float | None


def score_batch(
    model: torch.nn.Module,
    rows: Sequence[EncodedExample],
    *,
    batch_size: int,
    progress: Progress | None = None,
    fast: FastModel | None = None,
) -> list[GoldScore]:
    """Score the middle and the end token of every row.

    Rows are sorted by length and padded on the right, so that causal attention needs no mask. Only
    hidden states that predict a scored token go through the output layer.

    Args:
        model: A causal language model of transformers.
        rows: Encoded rows; what is scored follows ``prompt_length``, whatever the labels are.
        batch_size: Rows scored together.
        progress: Is advanced by the rows done; opened and closed by the caller.
        fast: The model in the form that is fast on a CPU, where there is one.
    """
    order = sorted(range(len(rows)), key=lambda index: len(rows[index].input_ids), reverse=True)
    scores: dict[int, GoldScore] = {}
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        losses = _token_losses(model, [rows[index] for index in indices], fast)
        for index, values in zip(indices, losses, strict=True):
            scores[index] = gold_score(rows[index], values)
        if progress:
            progress.advance(len(scores))
    return [scores[index] for index in range(len(rows))]


def gold_score(row: EncodedExample, losses: Sequence[float]) -> GoldScore:
    """Return the score of a row from the losses of its answer's tokens."""
    num_end = sum(len(segment.ids) for segment in row.segments if segment.kind is SegmentKind.END)
    num_middle = len(losses) - num_end
    return GoldScore(
        nll_sum_middle=sum(losses[:num_middle]),
        num_middle_tokens=num_middle,
        nll_end=sum(losses[num_middle:]) if num_end else None,
    )


def _token_losses(
    model: torch.nn.Module, rows: Sequence[EncodedExample], fast: FastModel | None
) -> list[list[float]]:
    """Return the loss of every answer token of every row."""
    import torch

    from fim.inference.decoder import model_device
    from fim.inference.rows import RowBatch

    answers = [row.input_ids[row.prompt_length :] for row in rows]
    if not any(answers):
        return [[] for _ in rows]
    longest = max(len(row.input_ids) for row in rows)
    if fast is not None:
        prompts = [row.input_ids[: row.prompt_length] for row in rows]
        return RowBatch(fast, len(rows), longest).read(prompts, answers)[1]
    input_ids = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        input_ids[number, : len(row.input_ids)] = torch.tensor(row.input_ids, dtype=torch.long)
    starts = [row.prompt_length for row in rows]
    with torch.inference_mode():
        inputs = {"input_ids": input_ids.to(model_device(model)), "use_cache": False}
        logits = logits_at(model, predicting_places(answers, starts), inputs)
        return answer_losses(logits, answers)


def predicting_places(
    answers: Sequence[Sequence[int]], starts: Sequence[int]
) -> list[tuple[int, int]]:
    """Return row and column of each position whose next token is one of an answer's.

    Args:
        answers: Ids of each row's answer.
        starts: Column in which each answer begins.
    """
    return [
        (row, column - 1)
        for row, (answer, start) in enumerate(zip(answers, starts, strict=True))
        for column in range(start, start + len(answer))
    ]


def logits_at(
    model: torch.nn.Module, places: Sequence[tuple[int, int]], inputs: Mapping[str, object]
) -> torch.Tensor:
    """Return logits ``[N, V]`` at N places of a batch ``[B, T]``; no others are computed.

    Args:
        model: A causal language model of transformers.
        places: Row and column of each.
        inputs: Arguments of the model's call.
    """
    import torch

    from fim.inference.decoder import model_device

    rows, columns = torch.tensor(places, device=model_device(model)).unbind(1)
    with _gathered_before_head(model, (rows, columns)):
        logits = cast("torch.Tensor", model(**inputs).logits)
    is_gathered = logits.ndim == rows.ndim + 1
    return logits if is_gathered else logits[rows, columns]


def answer_losses(logits: torch.Tensor, answers: Sequence[Sequence[int]]) -> list[list[float]]:
    """Return the loss of every answer token from logits ``[N, V]``, computed in float32."""
    import torch

    targets = torch.tensor(
        [token_id for answer in answers for token_id in answer],
        dtype=torch.long,
        device=logits.device,
    )
    losses = _cross_entropy(logits, targets).tolist()
    return [list(part) for part in _pieces(losses, [len(answer) for answer in answers])]


@contextmanager
def _gathered_before_head(
    model: torch.nn.Module, places: tuple[torch.Tensor, torch.Tensor]
) -> Iterator[None]:
    """Let only some hidden states reach the output layer.

    What the model does to its logits after that layer (scaling, soft caps) stays in place.
    """
    head = cast("PreTrainedModel", model).get_output_embeddings()  # type: ignore[no-untyped-call]

    def gather(_module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return inputs[0][places[0], places[1]]

    handle = head.register_forward_pre_hook(gather)
    try:
        yield
    finally:
        handle.remove()


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return losses ``[N]`` in float32, in slices that keep the float copy small."""
    import torch

    slices = [
        torch.nn.functional.cross_entropy(part.float(), wanted, reduction="none")
        for part, wanted in zip(
            torch.split(logits, _ROWS_PER_SOFTMAX),
            torch.split(targets, _ROWS_PER_SOFTMAX),
            strict=True,
        )
    ]
    return torch.cat(slices)


def _pieces(values: Sequence[float], lengths: Sequence[int]) -> Iterator[Sequence[float]]:
    start = 0
    for length in lengths:
        yield values[start : start + length]
        start += length
