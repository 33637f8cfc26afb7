"""Where a model name leads: the embedded model, a folder, or the hub."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from fim.config import EMBEDDED_MODEL_NAME
from fim.errors import ModelNotFoundError
from fim.model.failures import first_line

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

SourceKind = Literal["embedded", "folder", "hub"]

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.json")
CONFIG_FILES = ("config.json",)
WORD_FILES = ("*.json", "*.model", "*.txt", "*.jinja")
MODEL_FILES = (*WORD_FILES, "*.safetensors", "*.bin")
RUN_STATUS, RUN_MODEL, RUN_ADAPTER = "STATUS", "model", "adapter"
_WEIGHT_ENDINGS = (".safetensors", ".bin")
_FILE_ENDINGS = (".gguf", ".safetensors", ".bin", ".pt", ".pth")
_GGUF_START = b"GGUF"
_GGUF_HINT = (
    "Take the repository that the GGUF was made from, which its model page names, such as: "
    "--model Qwen/Qwen2.5-Coder-0.5B"
)
_SAFETENSORS, _PICKLED, _COPY = ".safetensors", ".bin", "consolidated"
_HUB_TIMEOUT_SECONDS = 10.0
_REFUSALS = frozenset({401, 403})
_SIZE_IN_NAME = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:\.\d+)?)([bBmM])(?![A-Za-z0-9])")
_UNITS = {"b": 1_000_000_000, "m": 1_000_000}
_EMBEDDED_NAMESPACE = EMBEDDED_MODEL_NAME.split("/", maxsplit=1)[0]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """A model that exists, and where the libraries find it.

    Args:
        name: The name the user gave.
        kind: Where it comes from.
        location: The folder that holds its files.
        revision: Commit on the hub; None elsewhere.
    """

    name: str
    kind: SourceKind
    location: str
    revision: str | None = None


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
    path = Path(name).expanduser()
    if path.is_dir() or name.startswith(("/", ".", "~")):
        return "folder"
    if path.is_file() and path.suffix.lower() in _FILE_ENDINGS:
        return "folder"
    return "folder" if name.count("/") > 1 else "hub"


def parameters_of(name: str) -> int | None:
    """Return the number of parameters that a model's name or folder tells, or None.

    >>> parameters_of("unsloth/Qwen3-8B-bnb-4bit")
    8000000000
    >>> parameters_of("someone/model") is None
    True
    """
    folder = folder_of(name)
    if folder.is_dir():
        num_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        return num_bytes // 2 or None
    sizes = [
        int(float(number) * _UNITS[unit.lower()])
        for number, unit in _SIZE_IN_NAME.findall(name.rsplit("/", 1)[-1])
    ]
    return max(sizes, default=None)


def folder_of(name: str) -> Path:
    """Return the folder of a model's files; that of a run's whole model where a run is named."""
    folder = Path(name).expanduser()
    whole = folder / RUN_MODEL
    is_run = (folder / RUN_STATUS).is_file() and (whole / CONFIG_FILES[0]).is_file()
    return whole if is_run else folder


def find_folder(name: str, *, needs: Sequence[str]) -> ModelSource:
    """Return the source of a model folder that holds at least one of the needed files.

    Raises:
        ModelNotFoundError: The folder is missing, is something else or holds none of them.
    """
    folder = folder_of(name)
    context: dict[str, object] = {"model": name, "needs": list(needs)}
    if folder.is_file():
        what, hint = _told_of_file(folder)
        raise ModelNotFoundError(f"{name} is {what}.", hint=hint, context=context)
    if not folder.is_dir():
        raise ModelNotFoundError(
            f"The model folder {name} does not exist.",
            hint="Set model.name (or --model) to a model folder or to a name on the hub.",
            context=context,
        )
    if (folder / RUN_STATUS).is_file():
        raise ModelNotFoundError(
            f"{name} is a run of fim and no model: what it trained is an adapter, which needs its "
            "base.",
            hint=_run_hint(folder),
            context=context,
        )
    if not any((folder / file).is_file() for file in needs):
        raise ModelNotFoundError(
            f"The folder {name} holds no {' or '.join(needs)}, so it is not a model folder"
            f"{_told_parts(folder)}.",
            hint=_folder_hint(folder, needs),
            context=context,
        )
    return ModelSource(name=name, kind="folder", location=str(folder))


def check_folder(name: str) -> None:
    """Refuse a model folder that lacks configuration, tokenizer or weights.

    Raises:
        ModelNotFoundError: The message says which part is missing.
    """
    source = find_folder(name, needs=CONFIG_FILES)
    folder = Path(source.location)
    if not has_weights(folder):
        raise ModelNotFoundError(
            f"The weights of {name} cannot be read: the folder holds no "
            f"{' or '.join(f'*{each}' for each in _WEIGHT_ENDINGS)}{_told_parts(folder)}.",
            hint=_weights_hint(folder),
            context={"model": name},
        )
    find_folder(name, needs=TOKENIZER_FILES)


def has_weights(folder: Path) -> bool:
    """Tell whether a folder holds weights of a model, an adapter's left out."""
    return bool(_weights(folder))


def _weights(folder: Path) -> list[str]:
    return sorted(
        path.name
        for path in folder.iterdir()
        if path.name.endswith(_WEIGHT_ENDINGS)
        and not path.name.startswith(("adapter_", "training_args", "optimizer"))
    )


def find_on_hub(
    name: str, *, revision: str | None, token: str | None, needs: Collection[str]
) -> ModelSource:
    """Fetch the needed files of a model on the hub into its cache, where they are not there yet.

    The libraries that load the model get the folder alone: they ask no hub, and no token reaches
    them. The hub is asked once, with a short time limit and no retries, so that a machine without a
    network does not wait; then what is cached is used.

    Args:
        name: Name on the hub.
        revision: Branch, tag or commit.
        token: Token of the hub.
        needs: Patterns of file names at the top of the repository; see ``MODEL_FILES``.

    Raises:
        ModelNotFoundError: The model is not on the hub, not open to this token, or the hub cannot
            be reached and the model is not cached.
    """
    from huggingface_hub import HfApi, constants

    reason = "the hub is switched off (HF_HUB_OFFLINE)"
    if not constants.HF_HUB_OFFLINE:
        try:
            facts = HfApi(token=token).model_info(
                name, revision=revision, timeout=_HUB_TIMEOUT_SECONDS
            )
        except Exception as error:
            if _is_refusal(error):
                raise ModelNotFoundError(
                    f"The hub has no model {_label(name, revision)} that this token may read: "
                    f"{first_line(error)}",
                    hint="Check model.name and model.revision; for a private or gated model set "
                    "FIM_HF_TOKEN. A local model is named by its folder.",
                    context={"model": name, "revision": revision},
                ) from error
            if not _is_network_error(error):
                raise
            reason = f"the hub cannot be reached ({first_line(error)})"
        else:
            names = [each.rfilename for each in facts.siblings or ()]
            return _fetched(name, revision, token=token, files=wanted_files(names, needs))
    folder = _cached_folder(name, revision)
    if folder is not None:
        return ModelSource(name, "hub", str(folder), revision=folder.name)
    raise ModelNotFoundError(
        f"The model {_label(name, revision)} is neither a folder here nor cached, and {reason}.",
        hint="FIM_PRESET=cpu uses the embedded model, which needs no hub; or name a model folder "
        "with FIM_MODEL_NAME=/path/to/model",
        context={"model": name, "revision": revision},
    )


def wanted_files(names: Iterable[str], needs: Collection[str]) -> list[str]:
    """Return the files at the top of a repository that match patterns.

    Weights that are there as safetensors are not taken in a second form; copies for other programs
    (``consolidated``) never.

    >>> wanted_files(["model.safetensors", "pytorch_model.bin", "onnx/model.onnx"], MODEL_FILES)
    ['model.safetensors']
    """
    files = [
        name
        for name in names
        if not name.startswith(_COPY) and any(PurePosixPath(name).match(each) for each in needs)
        if "/" not in name
    ]
    has_safetensors = any(name.endswith(_SAFETENSORS) for name in files)
    return [name for name in files if not (has_safetensors and name.endswith(_PICKLED))]


def _fetched(
    name: str, revision: str | None, *, token: str | None, files: Sequence[str]
) -> ModelSource:
    """Return the source of a model whose files were fetched into the hub's cache.

    The branch or tag is given, not its commit, so that the cache knows it without the hub.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name, revision=revision, token=token, allow_patterns=list(files))
    except Exception as error:
        if not _is_network_error(error):
            raise
        raise ModelNotFoundError(
            f"{name} could not be fetched from the hub: {first_line(error)}",
            hint="Run the command again: what has been fetched is kept. A gated model needs "
            "FIM_HF_TOKEN.",
            context={"model": name, "revision": revision},
        ) from error
    return ModelSource(name, "hub", folder, revision=Path(folder).name)


def _is_refusal(error: Exception) -> bool:
    """Tell whether the hub answered that there is no such model, or not for this token."""
    from huggingface_hub import errors

    named = (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError)
    if isinstance(error, named):
        return True
    answer = error.response if isinstance(error, errors.HfHubHTTPError) else None
    return answer is not None and answer.status_code in _REFUSALS


def _is_network_error(error: Exception) -> bool:
    """Tell whether an exception is a failed request rather than a defect."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    if isinstance(error, (OSError, HfHubHTTPError, OfflineModeIsEnabled)):
        return True
    roots = {base.__module__.split(".", maxsplit=1)[0] for base in type(error).__mro__}
    return bool(roots & {"httpx", "httpx2", "httpcore", "requests"})


def _cached_folder(name: str, revision: str | None) -> Path | None:
    """Return the folder of the hub's cache that holds the model's configuration, or None."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _told_parts(folder: Path) -> str:
    """Tell which parts of a model a folder does hold."""
    words = [file for file in TOKENIZER_FILES if (folder / file).is_file()]
    parts = {
        "config.json": (folder / CONFIG_FILES[0]).is_file(),
        f"a tokenizer ({', '.join(words)})": bool(words),
        f"weights ({', '.join(_weights(folder)[:2])})": has_weights(folder),
    }
    held = [part for part, is_there in parts.items() if is_there]
    return f"; it holds {' and '.join(held)} alone" if held else ""


def _folder_hint(folder: Path, needs: Sequence[str]) -> str:
    """Tell what a folder seems to be instead, or how to bring what it lacks."""
    if (folder / "adapter_config.json").is_file():
        return "It holds an adapter: name its base with --model and the folder with --adapter."
    if tuple(needs) == TOKENIZER_FILES:
        return (
            "Copy tokenizer.json and tokenizer_config.json of the same model into it: "
            f"hf download ORG/NAME --include 'tokenizer*' --local-dir {shlex.quote(str(folder))}"
        )
    if any(folder.glob("*.gguf")):
        return _GGUF_HINT
    return "Name the folder that holds config.json and the model's *.safetensors files."


def _weights_hint(folder: Path) -> str:
    if any(folder.glob("*.gguf")):
        return _GGUF_HINT
    return (
        "Copy the weights of the same model into it: hf download ORG/NAME --include "
        f"'*.safetensors*' --local-dir {shlex.quote(str(folder))}"
    )


def _told_of_file(path: Path) -> tuple[str, str]:
    """Return what a file that was named as a model is, and what to do."""
    with path.open("rb") as stream:
        is_gguf = stream.read(len(_GGUF_START)) == _GGUF_START
    if is_gguf or path.suffix.lower() == ".gguf":
        what = "a GGUF file" if is_gguf else "a file that is named as a GGUF file and is none"
        return f"{what}, and fim loads models from their safetensors alone", _GGUF_HINT
    folder = shlex.quote(str(path.parent))
    return "a file and no model folder", f"Name the folder that holds it: --model {folder}"


def _run_hint(run: Path) -> str:
    """Return the command that takes what a run has trained."""
    steps = sorted(
        run.glob("checkpoints/checkpoint-*/adapter_config.json"),
        key=lambda path: path.stat().st_mtime,
    )
    adapters = [run / RUN_ADAPTER / "adapter_config.json", *reversed(steps)]
    adapter = next((path.parent for path in adapters if path.is_file()), None)
    if adapter is None:
        return "It has trained nothing yet; `fim runs list` shows the runs that have."
    command = ("fim", "complete", "--adapter", str(adapter), "--prefix", "TEXT", "--suffix", "TEXT")
    return shlex.join(command)


def _label(name: str, revision: str | None) -> str:
    """Return a model's name with its revision."""
    return f"{name!r}" if revision is None else f"{name!r} at revision {revision!r}"
