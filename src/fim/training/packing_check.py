"""Whether rows can be packed on a model, by what it is and by what it computes."""

from __future__ import annotations

import logging
import math
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING

from fim.errors import PackingLeakError
from fim.packing import Branch, Tree, lay_out, plan_packing
from fim.training.flex import flex_attention_on
from fim.training.loss import TARGETS_ARGUMENT, base_model
from fim.training.non_finite import BadFigure, base_fault, not_finite
from fim.training.precision import autocast_for
from fim.types import IGNORED_LABEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel

    from fim.config import TrainSettings
    from fim.model import LoadedModel
    from fim.packing import Packing, PackingPlan
    from fim.types import EncodedExample

_logger = logging.getLogger(__name__)

MAX_CHECKED_ROWS = 4
_FULL_ATTENTION = "full_attention"
TOLERANCES = {"float64": 1e-6, "float32": 4e-3, "bfloat16": 0.5, "float16": 0.1}


def choose_packing(
    loaded: LoadedModel,
    rows: Sequence[EncodedExample],
    settings: TrainSettings,
    *,
    has_own_loss: bool,
) -> PackingPlan:
    """Return the packing of a run, after comparing packed rows with rows alone on its model.

    Args:
        loaded: The model.
        rows: Rows to learn from.
        settings: How to train.
        has_own_loss: Only supervised positions go through the model's head.

    Raises:
        PackingLeakError: The packing that was asked for is not exact on this model.
        NonFiniteLossError: The base gives no number on a row.
    """
    wanted = settings.packing
    obstacle = packing_obstacle(loaded, has_own_loss=has_own_loss, wanted=wanted)
    chosen = planned_packing(rows, settings, obstacle=obstacle)
    if chosen.name == "none":
        return chosen
    try:
        with packed_attention(loaded):
            difference = check_packing(loaded, chosen, rows, autocast=autocast_for(loaded))
    except PackingLeakError as error:
        if wanted != "auto":
            raise
        return planned_packing(rows, settings, obstacle=error.message)
    _logger.info("packed rows equal rows alone on this model (to %.2g)", difference)
    return chosen


def planned_packing(
    rows: Sequence[EncodedExample], settings: TrainSettings, *, obstacle: str = ""
) -> PackingPlan:
    """Return the packing of rows under the settings; for a dry run, no model is needed.

    Args:
        rows: Rows to learn from.
        settings: How to train.
        obstacle: Why the model or the machine allows no packing; empty when they do.
    """
    batch_rows = settings.per_device_train_batch_size
    longest = max(len(row.input_ids) for row in rows)
    return plan_packing(
        rows,
        settings.packing,
        max_tokens=settings.packing_tokens or batch_rows * longest,
        rows_per_step=batch_rows * settings.gradient_accumulation_steps,
        obstacle=obstacle,
        trunk_weight=settings.trunk_loss,
    )


@contextmanager
def training_attention(
    loaded: LoadedModel, plan: PackingPlan, *, has_own_loss: bool
) -> Iterator[None]:
    """Let a model attend as its rows need it, and on a CPU with the faster backward pass.

    Args:
        loaded: The model.
        plan: The packing.
        has_own_loss: Rows that are not packed stand without a mask.
    """
    is_wanted = plan.name != "none" or (has_own_loss and loaded.device.startswith("cpu"))
    with packed_attention(loaded) if is_wanted else nullcontext():
        yield


@contextmanager
def packed_attention(loaded: LoadedModel) -> Iterator[None]:
    """Let a model attend as packed rows need it: in pieces, or through FlexAttention on CUDA."""
    base = base_model(loaded.model)
    is_cuda = loaded.device.startswith("cuda")
    if is_cuda:
        with flex_attention_on(base):
            yield
        return
    from fim.training.pieces import attention_in_pieces

    with attention_in_pieces(base):
        yield


def packing_obstacle(loaded: LoadedModel, *, has_own_loss: bool, wanted: Packing) -> str:
    """Return why rows cannot be packed on a model, empty when they can.

    Args:
        loaded: The model.
        has_own_loss: Only supervised positions go through its head.
        wanted: The setting; ``auto`` packs only where it was measured to be faster.
    """
    limit = attention_limit(loaded.model.config)
    if limit:
        return limit
    if not has_own_loss:
        return f"the {loaded.backend} backend computes the loss of this model itself"
    if loaded.device.startswith("cuda") and wanted == "auto":
        return "its speed on a GPU was not measured; train.packing tree or bfd turns it on"
    if not loaded.device.startswith(("cpu", "cuda")):
        return f"there is no attention for packed rows on {loaded.device}"
    return ""


def attention_limit(config: PretrainedConfig) -> str:
    """Return why rows that share a packed row would not be apart on a model; empty if they would.

    Packed rows are kept apart by what attends to what. A state that runs through a row, as linear
    attention keeps it, and a window that is counted in places know nothing of that.

    Args:
        config: Of the model, or of a larger one that holds a language model.
    """
    text = config.get_text_config()
    name = str(text.model_type)
    if getattr(text, "attention_dropout", 0.0):
        return f"the model ({name}) drops out attention weights"
    kinds = set(getattr(text, "layer_types", None) or ())
    others = sorted(kinds - {_FULL_ATTENTION})
    if others:
        return f"the model ({name}) has layers of {', '.join(others)}, which would mix packed rows"
    has_window = getattr(text, "sliding_window", None) and getattr(text, "use_sliding_window", True)
    if has_window and not kinds:
        return f"the model ({name}) attends within a sliding window, which would mix packed rows"
    return ""


def check_packing(
    loaded: LoadedModel,
    plan: PackingPlan,
    rows: Sequence[EncodedExample],
    *,
    autocast: Callable[[], AbstractContextManager[None]],
) -> float:
    """Compare a packed row with its rows alone on the loaded model, which is ready for packing.

    Args:
        loaded: The model.
        plan: The packing.
        rows: All rows.
        autocast: Makes the context that a loss is computed in.

    Returns:
        The largest difference of a row's log-likelihood, over the root of its targets, since the
        roundings of single targets grow like that.

    Raises:
        PackingLeakError: A row's likelihood depends on what it is packed with.
        NonFiniteLossError: The base gives no number on a row that is alone.
    """
    trees = _sample(plan)
    alone = [row for tree in trees for row in tree.rows]
    with autocast():
        together = _row_losses(loaded, trees, rows)
        apart = [_row_losses(loaded, [_single(row, rows)], rows)[row] for row in alone]
    if not all(map(math.isfinite, apart)):
        worst_row = next(
            row for row, loss in zip(alone, apart, strict=True) if not math.isfinite(loss)
        )
        with autocast():
            fault = base_fault(
                loaded.model, lambda: _row_losses(loaded, [_single(worst_row, rows)], rows)
            )
        fault = fault or "a row that is alone has no finite loss"
        figure = BadFigure("loss", math.nan, step=1, learning_rate=0.0)
        raise not_finite(figure, fault=fault, checkpoint=None, resume_command="")
    worst = max(
        abs(together[row] - single) / math.sqrt(num_targets(rows[row]))
        for row, single in zip(alone, apart, strict=True)
    )
    tolerance = TOLERANCES.get(loaded.dtype, TOLERANCES["bfloat16"])
    if not worst <= tolerance:
        raise PackingLeakError(
            f"On {loaded.name} a packed row's log-likelihood differs by {worst:.3g} from that of "
            f"the same row alone (per root of its tokens; rounding explains {tolerance:g}), so "
            "packed rows would train on each other's text.",
            hint="Train without packing: FIM_TRAIN_PACKING=none",
            context={"difference": worst, "tolerance": tolerance, "packing": plan.name},
        )
    return worst


def num_targets(row: EncodedExample) -> int:
    """Return how many ids of a row are predicted under its loss."""
    return max(1, sum(label != IGNORED_LABEL for label in row.labels[1:]))


def _sample(plan: PackingPlan) -> list[Tree]:
    """Return a small tree with branches, where there is one, and a row after it."""
    trees = sorted(plan.forest.trees, key=lambda tree: (-len(tree.branches), tree.trunk))
    first = trees[0]
    kept: tuple[Branch, ...] = first.branches[-(MAX_CHECKED_ROWS - 2) :]
    chosen = [Tree(first.trunk, kept, first.num_tokens)]
    if len(trees) > 1:
        last = min(trees[1:], key=lambda tree: tree.num_tokens)
        chosen.append(Tree(last.trunk, (), last.num_tokens))
    return chosen


def _single(row: int, rows: Sequence[EncodedExample]) -> Tree:
    """Return a row as a tree."""
    return Tree(row, (), len(rows[row].input_ids))


def _row_losses(
    loaded: LoadedModel, trees: Sequence[Tree], rows: Sequence[EncodedExample]
) -> dict[int, float]:
    """Return the summed negative log-likelihood of every row in a packed row of trees."""
    import torch

    from fim.training.packed import packed_inputs

    packed = lay_out(trees, rows)
    model: PreTrainedModel = base_model(loaded.model)
    inputs = packed_inputs(packed, device=loaded.device)
    del inputs[TARGETS_ARGUMENT]
    placed = {
        name: each.to(loaded.device) if isinstance(each, torch.Tensor) else each
        for name, each in inputs.items()
    }
    was_training = model.training
    model.eval()  # type: ignore[no-untyped-call]
    losses = {}
    try:
        with torch.no_grad():
            decoder = model.get_decoder()  # type: ignore[no-untyped-call]
            hidden: Tensor = decoder(use_cache=False, **placed).last_hidden_state[0]
            head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
            for piece in packed.pieces:
                labels = rows[piece.row].labels
                at = [t for t in range(1, len(labels)) if labels[t] != IGNORED_LABEL]
                places = torch.tensor([piece.place(t - 1) for t in at], dtype=torch.long)
                wanted = torch.tensor([labels[t] for t in at], dtype=torch.long)
                scores = torch.log_softmax(head(hidden[places.to(hidden.device)]).double(), dim=-1)
                losses[piece.row] = -float(
                    scores.gather(1, wanted.to(scores.device)[:, None]).sum()
                )
    finally:
        model.train(was_training)
    return losses
