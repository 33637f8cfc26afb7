"""Where a model name leads: the embedded model, a folder, or the hub."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from fim.config import EMBEDDED_MODEL_NAME
from fim.errors import ModelNotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

SourceKind = Literal["embedded", "folder", "hub"]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
_HUB_TIMEOUT_SECONDS = 10.0
_SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([bBmM])(?![A-Za-z0-9])")
_UNITS = {"b": 1_000_000_000, "m": 1_000_000}
_EMBEDDED_NAMESPACE = EMBEDDED_MODEL_NAME.split("/", maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model that exists, and where the libraries find it.

    Args:
        name: The name the user gave.
        kind: Where it comes from.
        location: A folder, or a name on the hub.
        revision: Commit on the hub; None elsewhere or when unknown.
        is_offline: Load from files on this machine only; the hub is not asked.
    """

    name: str
    kind: SourceKind
    location: str
    revision: str | None = None
    is_offline: bool = True


def kind_of(name: str) -> SourceKind:
    """Tell where a model name leads, without touching the network.

    Raises:
        ModelNotFoundError: The name is in the embedded namespace and not the embedded model.
    """
    if name == EMBEDDED_MODEL_NAME:
        return "embedded"
    if name.startswith(f"{_EMBEDDED_NAMESPACE}/"):
        raise ModelNotFoundError(
            f"There is no embedded model named {name!r}.",
            hint=f"The one that ships with fim: FIM_MODEL_NAME={EMBEDDED_MODEL_NAME}",
        )
    if Path(name).expanduser().is_dir() or name.startswith(("/", ".", "~")):
        return "folder"
    return "folder" if name.count("/") > 1 else "hub"


def parameters_of(name: str) -> int | None:
    """Return the number of parameters that a model's name or folder tells, or None.

    >>> parameters_of("unsloth/Qwen3-8B-bnb-4bit")
    8000000000
    >>> parameters_of("someone/model") is None
    True
    """
    folder = Path(name).expanduser()
    if folder.is_dir():
        num_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        return num_bytes // 2 or None
    sizes = [
        int(float(number) * _UNITS[unit.lower()])
        for number, unit in _SIZE_IN_NAME.findall(name.rsplit("/", 1)[-1])
    ]
    return max(sizes, default=None)


def find_folder(name: str, *, needs: Sequence[str]) -> ModelSource:
    """Return the source of a model folder that holds at least one of the needed files.

    Raises:
        ModelNotFoundError: The folder is missing or holds none of them.
    """
    folder = Path(name).expanduser()
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"The model folder {name} does not exist.",
            hint="Set model.name (or --model) to a model folder or to a name on the hub.",
            context={"model": name},
        )
    if not any((folder / file).is_file() for file in needs):
        raise ModelNotFoundError(
            f"The folder {name} holds no {' or '.join(needs)}, so it is not a model folder.",
            hint=_folder_hint(folder),
            context={"model": name, "needs": list(needs)},
        )
    return ModelSource(name=name, kind="folder", location=str(folder))


def find_on_hub(name: str, *, revision: str | None, token: str | None) -> ModelSource:
    """Ask the hub once for a model, falling back to the files that are already cached.

    The hub is asked with a short time limit and no retries, so that a machine without a network
    does not wait.

    Raises:
        ModelNotFoundError: The model is not on the hub, not open to this token, or the hub cannot
            be reached and the model is not cached.
    """
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    from huggingface_hub.errors import RevisionNotFoundError as UnknownRevisionError

    reason = "the hub is switched off (HF_HUB_OFFLINE)"
    if not constants.HF_HUB_OFFLINE:
        try:
            facts = HfApi(token=token).model_info(
                name, revision=revision, timeout=_HUB_TIMEOUT_SECONDS
            )
        except (HFValidationError, RepositoryNotFoundError, UnknownRevisionError) as error:
            raise ModelNotFoundError(
                f"The hub has no model {_label(name, revision)} that this token may read: "
                f"{_first_line(error)}",
                hint="Check model.name and model.revision; for a private or gated model set "
                "FIM_HF_TOKEN. A local model is named by its folder.",
                context={"model": name, "revision": revision},
            ) from error
        except Exception as error:
            if not _is_network_error(error):
                raise
            reason = f"the hub cannot be reached ({_first_line(error)})"
        else:
            return ModelSource(name, "hub", name, revision=facts.sha, is_offline=False)
    if _is_cached(name, revision):
        return ModelSource(name, "hub", name, revision=revision)
    raise ModelNotFoundError(
        f"The model {_label(name, revision)} is neither a folder here nor cached, and {reason}.",
        hint="FIM_PRESET=cpu uses the embedded model, which needs no hub; or name a model folder "
        "with FIM_MODEL_NAME=/path/to/model",
        context={"model": name, "revision": revision},
    )


def _is_network_error(error: Exception) -> bool:
    """Tell whether an exception is a failed request rather than a defect."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, (OSError, HfHubHTTPError, OfflineModeIsEnabled)):
        return True
    roots = {base.__module__.split(".", maxsplit=1)[0] for base in type(error).__mro__}
    return bool(roots & {"httpx", "httpx2", "httpcore", "requests"})


def _is_cached(name: str, revision: str | None) -> bool:
    """Tell whether the hub's cache on this machine holds the model's configuration."""
    from huggingface_hub import try_to_load_from_cache

    return isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str)


def _folder_hint(folder: Path) -> str:
    """Tell what a folder seems to be instead."""
    if (folder / "adapter_config.json").is_file():
        return "It holds an adapter: name its base with --model and the folder with --adapter."
    return "Name the folder that holds config.json and the model's *.safetensors files."


def _label(name: str, revision: str | None) -> str:
    """Return a model's name with its revision."""
    return f"{name!r}" if revision is None else f"{name!r} at revision {revision!r}"


def _first_line(error: Exception) -> str:
    """Return the first line that an exception says, or its type."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
