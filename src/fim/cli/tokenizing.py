"""The tokenizer of the settings' model, for commands that need no weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fim.config import Settings
    from fim.data import TokenizerView


def load_view(settings: Settings) -> TokenizerView:
    """Return the text side of the model's tokenizer; a folder with just a tokenizer will do.

    Raises:
        MissingExtraError: transformers is not installed.
        ModelNotFoundError: The model or its tokenizer cannot be found.
        EmbeddedModelError: The embedded model cannot be had.
        FormatUnsupportedError: The tokenizer has no fast backend.
    """
    from fim.data import TokenizerView
    from fim.model import ModelLoader

    loader = ModelLoader(model=settings.model, lora=settings.lora, hf=settings.hf)
    return TokenizerView(loader.tokenizer())
