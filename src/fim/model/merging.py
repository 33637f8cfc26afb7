"""An adapter folded into its base, compared with what it replaces, and kept apart where it differs.

Merging makes generation about twice as fast. It must not change what the model says: a weight that
another part of the model uses too (an embedding that is the head as well) never takes an adapter
that was trained on one of the two, and the logits of a few ids are computed before and after.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from typing import TYPE_CHECKING, cast

from fim.model.quiet import quiet_loading

if TYPE_CHECKING:
    from collections.abc import Iterator

    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch import Tensor
    from torch.nn import Module

    from fim.model.loaded import LoadedModel

NUM_PROBE_IDS = 32
PROBE_TOLERANCE = {"float32": 1e-3, "bfloat16": 0.25, "float16": 0.1}

_logger = logging.getLogger(__name__)


@quiet_loading()
def merge_adapter(loaded: LoadedModel) -> LoadedModel:
    """Fold a model's adapter into its weights where that leaves its logits as they are.

    The sum is rounded to the weights' number type. A quantised base keeps its adapter apart, since
    its weights cannot take the sum; so does one with adapted weights that are shared, or whose
    logits would differ by more than rounding. One line in the log tells why.
    """
    model = loaded.model
    model.eval()  # type: ignore[no-untyped-call]
    if loaded.is_quantised:
        return loaded
    layers = [each for _, each in _adapted(model)]
    shared = shared_layers(model)
    if shared:
        reason = f"other parts of the model use the weights of {', '.join(shared)} too"
    else:
        before = _probe(loaded)
        for layer in layers:
            layer.merge()
        difference = _difference(before, _probe(loaded))
        if difference <= PROBE_TOLERANCE.get(loaded.dtype, PROBE_TOLERANCE["float32"]):
            return loaded
        for layer in layers:
            layer.unmerge()
        reason = f"merged, its logits differ by {difference:.2g} of their spread"
    _logger.info("the adapter is kept apart from its base, which is slower: %s", reason)
    return loaded


def shared_layers(model: Module) -> list[str]:
    """Return the names of adapted layers whose weights another part of the model uses as well.

    Rows that are trained in an embedding and its head at once are in both alike, and do not count.
    """
    from peft.tuners.trainable_tokens.layer import TrainableTokensLayer

    owners = _owners(model)
    shared = []
    for name, layer in _adapted(model):
        if isinstance(layer, TrainableTokensLayer):
            continue
        base = layer.get_base_layer()
        if any(len(owners[_place(each)]) > 1 for each in base.parameters()):
            shared.append(name.removeprefix("base_model.model."))
    return shared


def _owners(model: Module) -> dict[int, set[str]]:
    """Return, for the storage of every weight, the parts of the model that use it."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import AuxiliaryTrainingWrapper

    wrapped = [
        name
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)
    ]
    kept = set(wrapped)
    owners: dict[int, set[str]] = defaultdict(set)
    for name, weight in model.named_parameters(remove_duplicate=False):
        parts = name.split(".")[:-1]
        paths = (".".join(parts[: end + 1]) for end in range(len(parts)))
        owners[_place(weight)].add(next((path for path in paths if path in kept), ".".join(parts)))
    return owners


def _place(weight: Tensor) -> int:
    """Return where a weight's numbers lie, which two weights have in common where they share."""
    return weight.untyped_storage().data_ptr() or id(weight)


def _adapted(model: Module) -> Iterator[tuple[str, BaseTunerLayer]]:
    """Yield the adapted layers of a model with their names."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            yield name, module


def _probe(loaded: LoadedModel) -> Tensor:
    """Return the logits ``[T, V]`` of a few ids, in float32."""
    import torch

    model = loaded.model
    rows = len(cast("Tensor", model.get_input_embeddings().weight))
    first, step = rows // 8, max(1, rows // 2 // NUM_PROBE_IDS)
    wanted = [(first + step * each) % rows for each in range(NUM_PROBE_IDS)]
    ids = torch.tensor([wanted], device=loaded.device)
    with torch.no_grad():
        logits = model(input_ids=ids, use_cache=False).logits
    return cast("Tensor", logits[0].float())


def _difference(before: Tensor, after: Tensor) -> float:
    """Return how far logits are apart, as a share of their spread; infinite where one is none."""
    import math

    error = float((after - before).abs().mean() / before.std().clamp_min(1e-12))
    return error if math.isfinite(error) else math.inf
