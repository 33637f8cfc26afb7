"""What a completer needs of formats and encoders, which tests can fake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fim.types import EncodedExample, EncodedPrompt, FimExample, TextTokenizer


class ResolvedTokens(Protocol):
    """The ids of a format that generation needs."""

    @property
    def token_ids(self) -> Mapping[str, int]:
        """Every control token of the format."""
        ...

    @property
    def stop_ids(self) -> tuple[int, ...]:
        """Ids that end a completion."""
        ...

    @property
    def pad_id(self) -> int:
        """Id that fills batches."""
        ...


class PromptEncoder(Protocol):
    """What turns an example into ids: ``fim.data.ExampleEncoder``."""

    @property
    def resolved(self) -> ResolvedTokens:
        """The format's ids."""
        ...

    @property
    def tokenizer(self) -> TextTokenizer:
        """Decodes answers."""
        ...

    def prompt(self, example: FimExample) -> EncodedPrompt:
        """Return the prompt of an example."""
        ...

    def try_encode(self, example: FimExample) -> EncodedExample | str:
        """Return the row of an example, or the reason why it has none."""
        ...
