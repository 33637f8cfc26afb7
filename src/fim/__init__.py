"""Your own code-completion model, from your own code, with proof that it got better.

The public names below are imported on first use, so that ``import fim`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fim.config import Settings, load_settings
    from fim.data import ExampleEncoder, load_examples
    from fim.errors import FimError
    from fim.formats import resolve_format
    from fim.inference import CodeCompleter
    from fim.model import ModelLoader
    from fim.runs import RunFolder
    from fim.training import MaskingStrategy, Trainer
    from fim.types import Completion, ContextItem, FimExample

__version__ = "0.1.0"

__all__ = [
    "CodeCompleter",
    "Completion",
    "ContextItem",
    "ExampleEncoder",
    "FimError",
    "FimExample",
    "MaskingStrategy",
    "ModelLoader",
    "RunFolder",
    "Settings",
    "Trainer",
    "load_examples",
    "load_settings",
    "resolve_format",
]

_HOMES = {
    "CodeCompleter": "fim.inference",
    "Completion": "fim.types",
    "ContextItem": "fim.types",
    "ExampleEncoder": "fim.data",
    "FimError": "fim.errors",
    "FimExample": "fim.types",
    "MaskingStrategy": "fim.training",
    "ModelLoader": "fim.model",
    "RunFolder": "fim.runs",
    "Settings": "fim.config",
    "Trainer": "fim.training",
    "load_examples": "fim.data",
    "load_settings": "fim.config",
    "resolve_format": "fim.formats",
}


def __getattr__(name: str) -> object:
    """Import a public name from its module on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fim' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*__all__, "__version__"])
