"""LoRA adapters on disk: written with a record of their base, refused on any other base."""

from __future__ import annotations

import json
import logging
import shlex
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fim.errors import AdapterMismatchError, ModelNotFoundError
from fim.model.marks import BaseMarks
from fim.model.quiet import quiet_loading
from fim.model.source import kind_of

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from fim.model.loaded import LoadedModel

RECORD_FILE = "fim_adapter.json"
CONFIG_FILE = "adapter_config.json"
_BASE_KEY = "base_model_name_or_path"
_QUANTISED_ENDINGS = ("-unsloth-bnb-4bit", "-bnb-4bit")
_MIRROR = "unsloth"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AdapterRecord:
    """What an adapter was trained on.

    Args:
        base: Name of the base model.
        revision: Commit of the base on the hub, when known.
        backend: Backend that trained it.
        dtype: Number type of the computation.
        is_quantised: The base was held in 4 bits.
        architecture: The base's model type.
        num_layers: Layers of the base.
        hidden_size: Width of the base.
        vocab_size: Rows of the base's embedding.
        base_path: The base's folder in full, where it is one.
        embedding_hash: Of some of the base's embedding; a quantised copy has the same.
        projections_hash: Of some of its other weights; None for a quantised base.
    """

    base: str
    revision: str | None
    backend: str
    dtype: str
    is_quantised: bool
    architecture: str
    num_layers: int
    hidden_size: int
    vocab_size: int
    base_path: str | None = None
    embedding_hash: str | None = None
    projections_hash: str | None = None

    @property
    def marks(self) -> BaseMarks:
        """Return what tells the base from others of its shape."""
        return BaseMarks(self.embedding_hash, self.projections_hash)

    @property
    def shape(self) -> tuple[str, int, int, int]:
        """Return what two bases must share for an adapter to fit both."""
        return (self.architecture, self.num_layers, self.hidden_size, self.vocab_size)


def record_of(loaded: LoadedModel) -> AdapterRecord:
    """Return the record of an adapter that is trained on a loaded model."""
    config = loaded.model.config
    folder = Path(loaded.name).expanduser()
    return AdapterRecord(
        base=loaded.name,
        revision=loaded.revision,
        backend=loaded.backend,
        dtype=loaded.dtype,
        is_quantised=loaded.is_quantised,
        architecture=str(config.model_type),
        num_layers=int(config.num_hidden_layers),
        hidden_size=int(config.hidden_size),
        vocab_size=int(config.vocab_size),
        base_path=str(folder.parent.resolve() / folder.name) if folder.is_dir() else None,
        embedding_hash=loaded.marks.embedding,
        projections_hash=loaded.marks.projections,
    )


def save_adapter(loaded: LoadedModel, folder: Path, state: dict[str, Tensor] | None = None) -> Path:
    """Write the adapter of a model with its record into a folder, asking no hub for anything.

    Args:
        loaded: The model.
        folder: Where to.
        state: Its weights, where they are spread over processes; None for its own.
    """
    loaded.model.save_pretrained(folder, state_dict=state, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)
    write_adapter_record(loaded, folder)
    return folder


def save_model(loaded: LoadedModel, folder: Path, state: dict[str, Tensor] | None = None) -> Path:
    """Write a whole model with the record of the base that it came from into a folder.

    Args:
        loaded: The model.
        folder: Where to.
        state: Its weights, where they are spread over processes; None for its own.
    """
    loaded.model.save_pretrained(folder, state_dict=state)
    _write_json(folder / RECORD_FILE, asdict(record_of(loaded)))
    return folder


def write_adapter_record(loaded: LoadedModel, folder: Path) -> AdapterRecord:
    """Write the record beside a saved adapter and name the base in the adapter's own config."""
    record = record_of(loaded)
    _write_json(folder / RECORD_FILE, asdict(record))
    config = _read_json(folder / CONFIG_FILE)
    _write_json(folder / CONFIG_FILE, {**config, _BASE_KEY: record.base})
    return record


def read_adapter_record(folder: Path) -> AdapterRecord | None:
    """Return the record beside an adapter, or None for an adapter that fim did not write.

    Raises:
        AdapterMismatchError: The record is there and unreadable.
    """
    path = folder / RECORD_FILE
    if not path.is_file():
        return None
    try:
        return AdapterRecord(**_read_json(path))  # type: ignore[arg-type]
    except TypeError as error:
        raise AdapterMismatchError(
            f"The record {path} of the adapter is damaged ({error}), so its base is unknown.",
            hint="Train again, or delete the file if you know that the base is the right one.",
        ) from error


def check_adapter(loaded: LoadedModel, folder: Path) -> None:
    """Refuse an adapter that was made for another base than the loaded one.

    Raises:
        ModelNotFoundError: The folder holds no adapter.
        AdapterMismatchError: The adapter's base differs in name or shape.
    """
    if not (folder / CONFIG_FILE).is_file():
        raise ModelNotFoundError(
            f"{folder} holds no {CONFIG_FILE}, so there is no adapter to load.",
            hint="Name the adapter folder of a finished run: --adapter runs/latest/adapter",
            context={"adapter": str(folder)},
        )
    ours = record_of(loaded)
    record = read_adapter_record(folder)
    base = record.base if record else str(_read_json(folder / CONFIG_FILE).get(_BASE_KEY) or "")
    if base and not is_same_base(_place_of(record, base), _place_of(ours, ours.base)):
        raise _mismatch(folder, base, ours.base)
    if record is not None and record.shape != ours.shape:
        raise _mismatch(folder, f"{base} {record.shape}", f"{ours.base} {ours.shape}")
    if record is not None:
        _check_weights(folder, record, ours)


def _place_of(record: AdapterRecord | None, base: str) -> str:
    """Return the full path of a base that is known to be a folder of that name, or its name."""
    path = record.base_path if record is not None else None
    return path if path is not None and Path(path).name == Path(base).name else base


def _check_weights(folder: Path, record: AdapterRecord, ours: AdapterRecord) -> None:
    """Refuse a base of the right shape with other weights.

    A quantised copy on the hub, named as the adapter's base is, is told from it in the log alone:
    some of those who quantise repair rows of the embedding.

    Raises:
        AdapterMismatchError: The hashes of the weights differ.
    """
    difference = record.marks.difference(ours.marks)
    if difference is None:
        return
    theirs, own = difference
    is_folder = record.base_path is not None or ours.base_path is not None
    if record.is_quantised != ours.is_quantised and not is_folder:
        _logger.warning(
            "%s differs from %s, which the adapter was trained on, in some of its embedding "
            "(%s, then %s)",
            *(ours.base, record.base, own, theirs),
        )
        return
    where = record.base_path or record.base
    raise AdapterMismatchError(
        f"The adapter {folder} was trained on {where} with the weights {theirs}, and the loaded "
        f"base {ours.base_path or ours.base} has the same shape and the weights {own}: the answers "
        "would be of neither.",
        hint=f"Load the right base: --model {shlex.quote(where)}",
        context={
            "adapter": str(folder),
            "base": record.base,
            "loaded": ours.base,
            "base_hash": theirs,
            "loaded_hash": own,
        },
    )


@quiet_loading()
def attach_adapter(loaded: LoadedModel, folder: Path, *, is_trainable: bool = False) -> LoadedModel:
    """Return the model with an adapter from disk on it.

    Raises:
        ModelNotFoundError: The folder holds no adapter.
        AdapterMismatchError: The adapter does not belong to this base.
    """
    check_adapter(loaded, folder)
    from peft import PeftModel
    from safetensors import SafetensorError

    try:
        warnings.filterwarnings("error", message="Found missing adapter keys")
        model = PeftModel.from_pretrained(
            loaded.model, str(folder), is_trainable=is_trainable, torch_device=loaded.device
        )
    except (RuntimeError, ValueError, UserWarning, OSError, SafetensorError) as error:
        raise AdapterMismatchError(
            f"The adapter {folder} does not fit the base {loaded.name}: "
            f"{str(error).strip().splitlines()[0]}",
            hint="Load the base that the adapter was trained on: --model NAME",
            context={"adapter": str(folder), "base": loaded.name},
        ) from error
    return replace(loaded, model=cast("PreTrainedModel", model))


def is_same_base(one: str, other: str) -> bool:
    """Tell whether two names mean the same base model.

    A quantised copy, a copy under the mirror namespace of Unsloth, and the same folder under two
    names count as the same; two folders are told apart by their shapes and weights.

    >>> is_same_base("Qwen/Qwen3-8B", "unsloth/Qwen3-8B-bnb-4bit")
    True
    >>> is_same_base("Qwen/Qwen3-8B", "someone/Qwen3-8B")
    False
    """
    if one == other or all(kind_of(name) == "folder" for name in (one, other)):
        return True
    (org, model), (other_org, other_model) = _canonical(one), _canonical(other)
    return model == other_model and (org == other_org or _MIRROR in {org, other_org})


def _canonical(name: str) -> tuple[str, str]:
    """Return the namespace and the bare name of a model, lower-case."""
    org, _, model = name.lower().rpartition("/")
    for ending in _QUANTISED_ENDINGS:
        model = model.removesuffix(ending)
    return org, model


def _mismatch(folder: Path, theirs: str, ours: str) -> AdapterMismatchError:
    """Return the error for an adapter on a wrong base."""
    return AdapterMismatchError(
        f"The adapter {folder} was trained on {theirs}, the loaded base is {ours}; its weights "
        "mean nothing there.",
        hint=f"Load the right base: --model {theirs.split(' ', maxsplit=1)[0]}",
        context={"adapter": str(folder), "adapter_base": theirs, "base": ours},
    )


def _read_json(path: Path) -> dict[str, object]:
    """Read a JSON object."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise AdapterMismatchError(
            f"{path} cannot be read ({error}), so the adapter's base is unknown.",
            hint="Copy the whole adapter folder again, or train again.",
        ) from error
    if not isinstance(data, dict):
        raise AdapterMismatchError(
            f"{path} is not a JSON object, so the adapter's base is unknown.",
            hint="Copy the whole adapter folder again, or train again.",
        )
    return data


def _write_json(path: Path, data: dict[str, object]) -> None:
    """Write a JSON object through a temporary file."""
    draft = path.with_name(f"{path.name}.tmp")
    draft.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    draft.replace(path)
