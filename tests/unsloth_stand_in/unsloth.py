"""A stand-in for Unsloth that behaves as badly as the real one does.

It prints on import and on load, from Python and from C; it leaves the cache that it is handed alone
and returns keys and values of its own, as a tuple unless told otherwise; its one-token forward goes
on from buffers of the batch before; it stores a token that it is given, counts its users unless
told not to, writes code into the folder that it is in, and changes the environment.
``STAND_IN_RECORD`` names a file that gets a line for each of these.
"""

from __future__ import annotations

import ctypes
import os
import types
import warnings
from pathlib import Path
from typing import Any

import trl
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

__version__ = "2026.10.7"


def _record(line: str) -> None:
    place = os.environ.get("STAND_IN_RECORD")
    if place:
        with Path(place).open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def _chatter(where: str) -> None:
    print(f"Unsloth says hello at {where}")  # noqa: T201
    ctypes.CDLL(None).puts(f"Unsloth's kernels say hello at {where}".encode())


def _litter() -> None:
    folder = Path(os.environ.get("UNSLOTH_COMPILE_LOCATION", "unsloth_compiled_cache"))
    folder.mkdir(exist_ok=True)
    (folder / "UnslothSFTTrainer.py").write_text("", encoding="utf-8")


_chatter("import")
_litter()
_record("imported")
if "UNSLOTH_DISABLE_STATISTICS" not in os.environ:
    _record("counted its user")
os.environ["HF_HUB_ENABLE_HF_TRANSFER"] = "1"
os.environ["UNSLOTH_IS_PRESENT"] = "1"
trl.SFTTrainer = type("UnslothSFTTrainer", (trl.SFTTrainer,), {})  # type: ignore[misc]


def _forward(self: Any, input_ids: Any, **given: Any) -> Any:
    """Compute as the model does, with keys and values that go another way."""
    past = given.pop("past_key_values", None)
    wants_object = given.pop("return_dict", None)
    length = past.get_seq_length() if past is not None else 0
    own = DynamicCache()
    kept = self.__dict__.get("paged_attention")
    if length and input_ids.shape[1] == 1 and kept is not None:
        if len(kept.layers[0].keys) != len(input_ids):
            raise RuntimeError("output with shape [4] doesn't match the broadcast shape [2]")
        own = kept
    elif length:
        for index, layer in enumerate(past.layers):
            own.update(layer.keys.clone(), layer.values.clone(), index)
    output = self.plain_forward(input_ids=input_ids, past_key_values=own, return_dict=True, **given)
    if input_ids.shape[1] == 1 and length:
        self.paged_attention = own
    if past is not None:
        output.past_key_values = [(layer.keys, layer.values) for layer in own.layers]
    return output if wants_object or input_ids.shape[1] > 1 else output.to_tuple()


class FastLanguageModel:
    """The part of Unsloth's class that fim calls."""

    @staticmethod
    def from_pretrained(model_name: str, **given: Any) -> tuple[Any, Any]:
        """Load a model, loudly."""
        _chatter("load")
        _litter()
        if given.get("token"):
            _record(f"stored the token {given['token']}")
        if not given.get("local_files_only"):
            _record("asked the hub")
        os.environ["UNSLOTH_USE_NEW_MODEL"] = "0"
        os.environ["TRITON_DISABLE_LINE_INFO"] = "1"
        model = AutoModelForCausalLM.from_pretrained(model_name, dtype=given["dtype"])
        model.plain_forward = model.forward
        model.forward = types.MethodType(_forward, model)
        return model, AutoTokenizer.from_pretrained(model_name)

    @staticmethod
    def get_peft_model(model: Any, **given: Any) -> Any:
        """Put plain LoRA matrices on a model, loudly."""
        from peft import LoraConfig, get_peft_model

        _chatter("LoRA")
        warnings.simplefilter("ignore")
        names = ("r", "lora_alpha", "lora_dropout", "bias", "target_modules")
        return get_peft_model(
            model, LoraConfig(task_type="CAUSAL_LM", **{name: given[name] for name in names})
        )

    @staticmethod
    def for_inference(model: Any) -> Any:
        """Say what is asked for."""
        model.eval()
        return model

    @staticmethod
    def for_training(model: Any) -> Any:
        """Say what is asked for."""
        model.train()
        return model
