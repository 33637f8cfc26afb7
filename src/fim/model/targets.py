"""Where LoRA goes: every name of ``lora.target_modules`` is looked for among the model's layers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fim.config import LoraSettings
from fim.errors import InvalidSettingError, ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.nn import Module
    from transformers import PretrainedConfig, PreTrainedModel

ALL_LINEAR = "all-linear"
_DEFAULT_NAMES = LoraSettings().target_modules
_EMBEDDING_KINDS = ("Embedding", "Conv1d", "Conv2d")


@dataclass(frozen=True, slots=True)
class Targets:
    """The layers of a model that get LoRA matrices.

    Args:
        names: Names for PEFT, ``all-linear`` written out.
        counts: Name as the user gave it -> layers that it matches.
        others: Linear layers of the model that no name matches, the head left out.
    """

    names: tuple[str, ...]
    counts: Mapping[str, int]
    others: tuple[str, ...]

    @property
    def unmatched(self) -> tuple[str, ...]:
        """Names that match no layer."""
        return tuple(name for name, count in self.counts.items() if not count)

    @property
    def summary(self) -> str:
        """How often each name was found, for a log line."""
        found = ", ".join(f"{name} {count}" for name, count in self.counts.items() if count)
        if not self.unmatched:
            return found
        return (
            f"{found}; {', '.join(self.unmatched)} of the defaults match no layer of this model, "
            f"whose other linear layers ({', '.join(self.others) or 'none'}) stay untrained: "
            f"--set lora.target_modules={ALL_LINEAR} takes them all"
        )


def skeleton(config: PretrainedConfig) -> PreTrainedModel | None:
    """Return the layers of a model without any weight; None where its configuration is not enough.

    Args:
        config: Its configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from fim.model.failures import LIBRARY_FAILURES
    from fim.model.quiet import quiet_loading

    try:
        with quiet_loading(), torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
            return cast("PreTrainedModel", model)
    except LIBRARY_FAILURES:
        return None


def find_targets(model: PreTrainedModel, lora: LoraSettings) -> Targets:
    """Return where LoRA goes on a model, with or without its weights.

    Args:
        model: The model, without an adapter.
        lora: Gives the names; those of the defaults may be missing, as long as one is there.

    Raises:
        InvalidSettingError: The head is named, or a part that is no layer with a matrix.
        ModelError: A name that the user gave matches no layer, or none of the defaults does.
    """
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    layers = {name: module for name, module in model.named_modules() if name}
    linear = [name for name, each in layers.items() if _is_linear(each) and each is not head]
    expanded = _written_out(linear, layers)
    counts = {}
    for name in dict.fromkeys(lora.target_modules):
        wanted = expanded if name.lower() == ALL_LINEAR else (name,)
        matched = [each for each in layers if _is_matched(each, wanted)]
        _refuse_unfit(name, [layers[each] for each in matched], head, lora)
        counts[name] = len(matched)
    names = dict.fromkeys(
        each
        for name, count in counts.items()
        if count
        for each in (expanded if name.lower() == ALL_LINEAR else (name,))
    )
    others = tuple(_last_parts(each for each in linear if not _is_matched(each, tuple(names))))
    targets = Targets(tuple(names), counts, others)
    is_default = lora.target_modules == _DEFAULT_NAMES
    if not names or (targets.unmatched and not is_default):
        raise _no_place(targets, tuple(_last_parts(linear)), model.config.model_type)
    return targets


def _written_out(linear: Sequence[str], layers: Mapping[str, Module]) -> tuple[str, ...]:
    """Return the shortest names that match all linear layers and nothing else."""
    written: list[str] = []
    wanted = set(linear)
    for part in _last_parts(linear):
        matched = [each for each in layers if _is_matched(each, (part,))]
        is_safe = wanted.issuperset(matched)
        written.extend((part,) if is_safe else (each for each in matched if each in wanted))
    return tuple(written)


def _is_matched(layer: str, wanted: Sequence[str]) -> bool:
    """Tell whether a layer's full name is, or ends with, one of the names, as PEFT reads them."""
    return any(layer == name or layer.endswith(f".{name}") for name in wanted)


def _last_parts(names: object) -> list[str]:
    """Return the last parts of full names, each once, in their order."""
    return list(Counter(str(each).rsplit(".", 1)[-1] for each in cast("Sequence[str]", names)))


def _is_linear(module: Module) -> bool:
    """Tell whether a module is a linear layer, quantised or not, by the name of its class."""
    kind = type(module).__name__
    return "Linear" in kind or kind == "Conv1D"


def _refuse_unfit(
    name: str, matched: Sequence[Module], head: Module | None, lora: LoraSettings
) -> None:
    """Refuse a name that matches the head or a part that takes no matrices."""
    rest = [each for each in lora.target_modules if each != name]
    instead = f"--set lora.target_modules={','.join(rest) or ALL_LINEAR}"
    context = {"target_modules": list(lora.target_modules), "name": name}
    if any(each is head for each in matched):
        raise InvalidSettingError(
            f"lora.target_modules names {name}, the head of the model. The loss is computed from "
            "the head's own weight, so matrices on it would never be trained.",
            hint=f"{instead} leaves it out; --set model.full_finetuning=true trains every weight",
            context=context,
        )
    unfit = {
        type(each).__name__
        for each in matched
        if not (_is_linear(each) or type(each).__name__.endswith(_EMBEDDING_KINDS))
    }
    if unfit:
        raise InvalidSettingError(
            f"lora.target_modules names {name}, which is {', '.join(sorted(unfit))} in this model "
            "and no layer with a matrix, so LoRA has no place on it.",
            hint=f"name the layers inside it, or --set lora.target_modules={ALL_LINEAR} for all",
            context=context,
        )


def _no_place(targets: Targets, own: Sequence[str], kind: object) -> ModelError:
    listed = ", ".join(own)
    return ModelError(
        f"LoRA finds no place on this model for {', '.join(targets.unmatched)} of "
        f"lora.target_modules: {kind} has no layer of that name. Its own linear layers: {listed}.",
        hint=f"--set lora.target_modules={ALL_LINEAR} takes them all; or name some of them",
        context={
            "target_modules": list(targets.counts),
            "matched": dict(targets.counts),
            "linear_layers": list(own),
        },
    )
