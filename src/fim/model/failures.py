"""What goes wrong while a model is loaded, as errors that say what to do; for both backends."""

from __future__ import annotations

import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fim.errors import ModelError, ModelNotFoundError, NotEnoughMemoryError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fim.model.source import ModelSource

LIBRARY_FAILURES = (
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_OUT_OF_MEMORY = "out of memory"


@contextmanager
def loading_failures(source: ModelSource, *, dtype: str) -> Iterator[None]:
    """Translate what libraries raise while they load a model.

    Args:
        source: Which model.
        dtype: Number type that it is loaded in.

    Raises:
        NotEnoughMemoryError: The model does not fit the memory.
        ModelNotFoundError: The files are missing or cannot be read.
        ModelError: The files are no causal language model, or a library cannot load them.
    """
    import torch
    from safetensors import SafetensorError

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise _too_large(source, dtype) from error
    except OSError as error:
        raise unreadable(source, "weights", error) from error
    except (*LIBRARY_FAILURES, SafetensorError) as error:
        if _OUT_OF_MEMORY in str(error).lower():
            raise _too_large(source, dtype) from error
        raise ModelError(
            f"{source.name} cannot be loaded as a causal language model: {first_line(error)}",
            hint="Check that the folder is complete and that transformers knows the architecture.",
            context={"model": source.name, "failure": type(error).__name__},
        ) from error


def unreadable(source: ModelSource, what: str, error: Exception) -> ModelNotFoundError:
    """Return the error for files of a model that cannot be read.

    Args:
        source: Which model.
        what: Which part of it, such as ``weights``.
        error: What the library raised.
    """
    hint = "Check that the model is complete: config.json, tokenizer.json, *.safetensors."
    if source.kind == "hub":
        hint = f"Fetch what is missing: hf download {shlex.quote(source.name)}"
    return ModelNotFoundError(
        f"The {what} of {source.name} cannot be read: {first_line(error)}",
        hint=hint,
        context={"model": source.name, "location": source.location},
    )


def first_line(error: BaseException) -> str:
    """Return the first line that an exception says, or its type."""
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__


def _too_large(source: ModelSource, dtype: str) -> NotEnoughMemoryError:
    return NotEnoughMemoryError(
        f"{source.name} in {dtype} does not fit the memory of this machine.",
        hint="FIM_MODEL_LOAD_IN_4BIT=true, a smaller model, or FIM_PRESET=cpu",
        context={"model": source.name, "dtype": dtype},
    )
