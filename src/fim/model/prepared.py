"""The embedded model in the form it is loaded in: dequantised once, kept beside the GGUF.

Reading the GGUF takes some 15 to 25 seconds on two cores, reading the prepared weights two, so
every command after the first starts at once. A prepared folder is keyed by the digest of the
GGUF (its parent folder), the version of transformers that wrote it, that of this form, and the
dtype.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from fim.errors import EmbeddedModelError
from fim.model.embedded import locked_folder
from fim.model.quiet import quiet_loading

if TYPE_CHECKING:
    from collections.abc import Callable

    from transformers import PreTrainedModel, PreTrainedTokenizerBase

STAMP_FILE = "fim_prepared.json"
_FORM = 2
_MACHINE_KEYS = ("is_local", "local_files_only", "name_or_path")


def prepare_tokenizer(folder: Path) -> Path:
    """Return a folder with the embedded model's tokenizer in the library's own form.

    Raises:
        EmbeddedModelError: The cache cannot be written.
    """

    def build(target: Path) -> None:
        _save_tokenizer(_read_tokenizer(folder), target)

    return _prepared(folder, "tokenizer", build)


def prepare_weights(folder: Path, dtype: str) -> Path:
    """Return a folder with the embedded model's dequantised weights and its tokenizer.

    Args:
        folder: Where the GGUF lies.
        dtype: ``float32``, ``bfloat16`` or ``float16``.

    Raises:
        EmbeddedModelError: The cache cannot be written.
    """

    def build(target: Path) -> None:
        _read_model(folder, dtype).save_pretrained(target)
        _save_tokenizer(_read_tokenizer(folder), target)

    return _prepared(folder, dtype, build)


def prepare_config(folder: Path) -> Path:
    """Return a folder with the embedded model's configuration, read from the GGUF's header alone.

    Raises:
        EmbeddedModelError: The cache cannot be written.
    """

    def build(target: Path) -> None:
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(
            folder, gguf_file=_gguf_name(folder), local_files_only=True
        )
        config.save_pretrained(target)

    return _prepared(folder, "config", build)


def _gguf_name(folder: Path) -> str:
    """Return the name of the only GGUF file in a folder."""
    return next(path.name for path in sorted(folder.glob("*.gguf")))


def _read_model(folder: Path, dtype: str) -> PreTrainedModel:
    """Read the GGUF as a plain dense model with a tied head."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig, PreTrainedModel

    model = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=_gguf_name(folder),
        quantization_config=GgufConfig(dequantize=True),
        dtype=getattr(torch, dtype),
        local_files_only=True,
    )
    if not isinstance(model, PreTrainedModel):
        raise EmbeddedModelError(f"The embedded model in {folder} is read as {type(model)}.")
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    embeddings = model.get_input_embeddings()
    if head is None or head.weight is not embeddings.weight:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    return model


def _read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Read the tokenizer that the GGUF carries."""
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    tokenizer = AutoTokenizer.from_pretrained(
        folder, gguf_file=_gguf_name(folder), local_files_only=True
    )
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise EmbeddedModelError(f"The tokenizer in {folder} is read as {type(tokenizer)}.")
    _take_bytes_alone(tokenizer)
    return tokenizer


def _take_bytes_alone(tokenizer: PreTrainedTokenizerBase) -> None:
    """Let a tokenizer turn text into bytes and back, and nothing else.

    Releases of transformers before 5.18 read a byte-level tokenizer of a GGUF as one of pieces as
    well: it then decodes U+2581 as a space.
    """
    from tokenizers import decoders, pre_tokenizers

    backend = tokenizer.backend_tokenizer
    backend.normalizer = None
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()


def _save_tokenizer(tokenizer: PreTrainedTokenizerBase, target: Path) -> None:
    """Write a tokenizer without the traces of the folder it was read from."""
    tokenizer.save_pretrained(target)
    path = target / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: value for key, value in settings.items() if key not in _MACHINE_KEYS}
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _prepared(folder: Path, kind: str, build: Callable[[Path], None]) -> Path:
    """Return the prepared folder of a kind, building it under the cache's lock if need be."""
    target = folder / f"{kind}-{_FORM}-transformers-{version('transformers')}"
    if _is_complete(target):
        return target
    with locked_folder(folder):
        if not _is_complete(target):
            _build(target, build)
    return target


def _build(target: Path, build: Callable[[Path], None]) -> None:
    """Fill a temporary folder, stamp it and move it in place."""
    shutil.rmtree(target, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".prepare-", dir=target.parent) as name:
        work = Path(name) / target.name
        work.mkdir()
        with quiet_loading():
            build(work)
        sizes = {path.name: path.stat().st_size for path in sorted(work.iterdir())}
        (work / STAMP_FILE).write_text(json.dumps(sizes), encoding="utf-8")
        work.replace(target)


def _is_complete(target: Path) -> bool:
    """Tell whether a prepared folder holds every file of its stamp in full size."""
    try:
        sizes = json.loads((target / STAMP_FILE).read_text(encoding="utf-8"))
        return all((target / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False
