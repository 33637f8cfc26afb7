"""The loss at supervised positions alone: the head never sees the rest.

With middles of a few tokens in prompts of hundreds, nearly every row of a full logits tensor would
be thrown away. Here the hidden states that predict a trained token are gathered first and only
they are projected.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from types import MethodType
from typing import TYPE_CHECKING, cast

from fim.types import IGNORED_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from torch import Tensor, nn
    from transformers import PreTrainedModel

LABELS_ARGUMENT = "supervised_labels"
TARGETS_ARGUMENT = "supervised_targets"
PLAIN_ARGUMENT = "plain_targets"
PLAIN_WEIGHT_ARGUMENT = "plain_weight"
HEAD_CHUNK_TOKENS = 2048
HALF_BYTES = 2
PLAIN_HEAD_FAMILIES = frozenset(
    {"gemma", "llama", "mistral", "phi3", "qwen2", "qwen3", "smollm3", "starcoder2"}
)


def base_model(model: PreTrainedModel) -> PreTrainedModel:
    """Return the model inside a PEFT wrapper, or the model itself."""
    from peft import PeftModel

    wrapped: object = model
    if isinstance(wrapped, PeftModel):
        return cast("PreTrainedModel", wrapped.get_base_model())
    return model


def has_plain_head(model: PreTrainedModel) -> bool:
    """Tell whether a model's logits are its head's output, with no scaling or capping after it."""
    return str(model.config.model_type) in PLAIN_HEAD_FAMILIES


def supervised_nll(hidden: Tensor, head: nn.Module, labels: Tensor) -> Tensor:
    """Return the summed negative log-likelihood of the labels that are not ignored.

    Args:
        hidden: Last hidden states ``[B, T, H]``.
        head: Projection to the vocabulary.
        labels: ``[B, T]``, unshifted; the hidden state at ``t`` predicts the label at ``t + 1``.

    Source:
        The idea of a compact head: torchtune's linear cross-entropy and TRL's fused LM head.
    """
    import torch

    targets = labels[:, 1:].flatten()
    places = torch.nonzero(targets != IGNORED_LABEL).flatten()
    rows = hidden[:, :-1].flatten(0, 1).index_select(0, places)
    return _chunked_nll(head, rows, targets.index_select(0, places))


def targets_nll(hidden: Tensor, head: nn.Module, targets: Tensor) -> Tensor:
    """Return the summed negative log-likelihood of a packed row's targets.

    Args:
        hidden: Last hidden states ``[1, T, H]``.
        head: Projection to the vocabulary.
        targets: ``[3, N]``: the place that predicts, the id it should predict, how often it counts;
            ``[2, N]`` where each counts once.
    """
    places, *columns = targets
    return _chunked_nll(head, hidden[0].index_select(0, places), *columns)


def _chunked_nll(head: nn.Module, *columns: Tensor) -> Tensor:
    """Return the summed cross-entropy of rows, in chunks where the logits would be large."""
    import torch
    from torch.utils.checkpoint import checkpoint

    if len(columns[0]) <= HEAD_CHUNK_TOKENS:
        return _head_nll(*columns, head=head)
    project = partial(_head_nll, head=head)
    chunks = zip(*(torch.split(column, HEAD_CHUNK_TOKENS) for column in columns), strict=True)
    parts = [checkpoint(project, *chunk, use_reentrant=False) for chunk in chunks]
    return torch.stack([cast("Tensor", part) for part in parts]).sum()


def _head_nll(
    rows: Tensor, wanted: Tensor, counts: Tensor | None = None, *, head: nn.Module
) -> Tensor:
    """Return the summed cross-entropy of hidden states ``[N, H]`` against ids ``[N]``."""
    from torch.nn.functional import cross_entropy

    logits = head(rows)
    logits = logits if logits.dtype.itemsize > HALF_BYTES else logits.float()
    if counts is None:
        return cross_entropy(logits, wanted, reduction="sum")
    return (cross_entropy(logits, wanted, reduction="none") * counts).sum()


@contextmanager
def supervised_forward(model: PreTrainedModel) -> Iterator[None]:
    """Let ``model(input_ids=…, supervised_labels=…)`` return the summed loss of those labels.

    ``supervised_targets`` does the same for a packed row, and ``plain_targets`` adds the loss of
    the text of its trunks times ``plain_weight``. The call still goes through every wrapper
    around the base (PEFT, DDP, autocast); without either argument the forward is the original one.

    Args:
        model: A causal model with a plain head, PEFT-wrapped or not; rows are padded on the right,
            so causal attention alone keeps padding out and no mask is built.
    """
    base = base_model(model)
    original, decoder = base.forward, base.get_decoder()  # type: ignore[no-untyped-call]
    head = base.get_output_embeddings()  # type: ignore[no-untyped-call]

    def forward(self: PreTrainedModel, *args: object, **kwargs: object) -> object:
        labels = kwargs.pop(LABELS_ARGUMENT, None)
        targets = kwargs.pop(TARGETS_ARGUMENT, None)
        plain, weight = kwargs.pop(PLAIN_ARGUMENT, None), kwargs.pop(PLAIN_WEIGHT_ARGUMENT, 0.0)
        if labels is None and targets is None:
            return original(*args, **kwargs)
        hidden = decoder(*args, use_cache=False, **kwargs).last_hidden_state
        if targets is not None:
            loss = targets_nll(hidden, head, cast("Tensor", targets))
            if plain is None:
                return loss
            text = targets_nll(hidden, head, cast("Tensor", plain))
            return loss + cast("float", weight) * text
        return supervised_nll(hidden, head, cast("Tensor", labels))

    with forward_kept(base):
        base.forward = MethodType(forward, base)
        yield


@contextmanager
def forward_kept(*modules: nn.Module) -> Iterator[None]:
    """Undo what happens to the ``forward`` of modules in between."""
    kept = [(module, module.__dict__.get("forward")) for module in modules]
    try:
        yield
    finally:
        for module, forward in kept:
            module.__dict__.pop("forward", None)
            if forward is not None:
                module.__dict__["forward"] = forward


def head_batch_nll(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the summed loss of a batch, packed or not, through :func:`supervised_forward`."""
    if TARGETS_ARGUMENT in batch:
        return cast("Tensor", model(**batch))
    inputs = {"input_ids": batch["input_ids"], LABELS_ARGUMENT: batch["labels"]}
    return cast("Tensor", model(**inputs))


def framework_batch_nll(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> Tensor:
    """Return the summed loss of a batch through the model's own mean loss."""
    count = (batch["labels"][:, 1:] != IGNORED_LABEL).sum()
    return cast("Tensor", model(**batch).loss) * count


def mean_nll(
    model: PreTrainedModel,
    batches: Iterable[Mapping[str, Tensor]],
    batch_nll: Callable[[PreTrainedModel, Mapping[str, Tensor]], Tensor],
) -> float:
    """Return the mean negative log-likelihood per supervised token over batches, without gradient.

    The model is in evaluation mode meanwhile, and as it was afterwards.

    Args:
        model: The model, PEFT-wrapped or not.
        batches: ``input_ids``, ``attention_mask`` and ``labels``, each ``[B, T]``.
        batch_nll: Gives the summed loss of a batch.
    """
    import torch

    was_training = model.training
    model.eval()  # type: ignore[no-untyped-call]
    total, count = 0.0, 0
    try:
        with torch.no_grad():
            for batch in batches:
                placed = {name: tensor.to(model.device) for name, tensor in batch.items()}
                total += float(batch_nll(model, placed))
                count += int((batch["labels"][:, 1:] != IGNORED_LABEL).sum())
    finally:
        model.train(was_training)
    return total / count
