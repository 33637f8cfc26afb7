"""Token healing: the tokens before the cursor are spelled again, as the model would spell them.

A prompt that ends inside a word, or after a line break whose indentation is still to come, ends in
tokens that no file is made of. So the last ones are taken off the prompt, and what is generated
must begin with the text that they spelled, if need be with a token that reaches beyond the cursor.
That text is then left out of the answer.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from fim.types import SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import torch

    from fim.types import EncodedPrompt, TextTokenizer

MOST_REMOVED_TOKENS = 8
_TEXT_BEFORE_CURSOR = frozenset({SegmentKind.PREFIX, SegmentKind.ANCHOR})
_LAST_RUN = re.compile(r"( ?([^\W\d_]+|\d+|_+|[^\w\s]+)|\s+)\Z")


@runtime_checkable
class SpelledTokenizer(Protocol):
    """A tokenizer whose tokens are pieces of bytes: ``fim.data.TokenizerView``."""

    def spellings(self) -> Mapping[int, bytes]:
        """Return the bytes of every token of text; empty when the vocabulary is not of bytes."""
        ...


@dataclass(frozen=True, slots=True)
class HealedPrompt:
    """A prompt without its last tokens.

    Args:
        ids: What the model is asked with.
        removed: Ids that were taken off its end; none where nothing is to be healed.
        text: What they spell, which the generated text has to begin with.
    """

    ids: tuple[int, ...]
    removed: tuple[int, ...] = ()
    text: str = ""


class Spellings:
    """The tokens of a vocabulary in the order of their bytes.

    Args:
        spellings: Bytes by id, of tokens of text only.
    """

    def __init__(self, spellings: Mapping[int, bytes]) -> None:
        self._piece = spellings
        ordered = sorted((piece, token_id) for token_id, piece in spellings.items() if piece)
        self._pieces = [piece for piece, _ in ordered]
        self._ids = [token_id for _, token_id in ordered]
        self._single_bytes = {piece[0] for piece in self._pieces if len(piece) == 1}

    def piece(self, token_id: int) -> bytes:
        """Return the bytes of an id, none for one that is no text."""
        return self._piece.get(token_id, b"")

    def spell(self, ids: Sequence[int]) -> bytes | None:
        """Return the bytes of ids; None unless each is text and all bytes are tokens as well."""
        if not all(self.piece(token_id) for token_id in ids):
            return None
        spelled = b"".join(self.piece(token_id) for token_id in ids)
        return spelled if self._single_bytes.issuperset(spelled) else None

    def beginning(self, text: bytes) -> list[int]:
        """Return the ids whose bytes begin with a text, or with which the text begins."""
        shorter = (text[:size] for size in range(1, len(text)))
        places = [place for piece in shorter for place in self._starting_with(piece, exactly=True)]
        places += self._starting_with(text)
        return [self._ids[place] for place in places]

    def _starting_with(self, text: bytes, *, exactly: bool = False) -> Iterator[int]:
        place = bisect_left(self._pieces, text)
        while place < len(self._pieces) and self._pieces[place].startswith(text):
            if exactly and self._pieces[place] != text:
                return
            yield place
            place += 1


class Respelling:
    """What is still to be spelled before an answer begins.

    Args:
        spellings: The vocabulary.
        rest: Bytes to spell; none leave the answer free from the start.
    """

    def __init__(self, spellings: Spellings, rest: bytes) -> None:
        self.rest = rest
        self._spellings = spellings

    def allowed(self) -> list[int]:
        """Return the ids that may come next while something is to be spelled."""
        return self._spellings.beginning(self.rest)

    def take(self, token_id: int) -> bool:
        """Take the next id and return whether it belongs to the answer, at least in part."""
        piece, rest = self._spellings.piece(token_id), self.rest
        self.rest = rest[len(piece) :]
        return not rest or len(piece) > len(rest)


class TokenHealer:
    """Takes the tokens off a prompt's end that belong to the word at the cursor.

    Args:
        tokenizer: Its vocabulary spells; another kind of tokenizer leaves every prompt whole.
        is_wanted: Whether to heal at all.
    """

    def __init__(self, tokenizer: TextTokenizer, *, is_wanted: bool = True) -> None:
        spellings: Mapping[int, bytes] = {}
        if is_wanted and isinstance(tokenizer, SpelledTokenizer):
            spellings = tokenizer.spellings()
        self._spellings = Spellings(spellings)

    def heal(self, prompt: EncodedPrompt) -> HealedPrompt:
        """Return the prompt to ask with: the same where it does not end in the text before it.

        At least one id stays, no control token is taken off, and no character is split.
        """
        end = prompt.segments[-1] if prompt.segments else None
        if end is None or end.kind not in _TEXT_BEFORE_CURSOR:
            return HealedPrompt(prompt.ids)
        most = min(MOST_REMOVED_TOKENS, len(end.ids), len(prompt.ids) - 1)
        sizes = range(1, most + 1)
        texts = {size: self._text(end.ids[-size:]) for size in sizes}
        whole = {size: text for size, text in texts.items() if text is not None}
        if not whole:
            return HealedPrompt(prompt.ids)
        longest = max(whole)
        run = _LAST_RUN.search(whole[longest])
        wanted = len(run.group()) if run else 1
        size = next((size for size, text in whole.items() if len(text) >= wanted), longest)
        return HealedPrompt(prompt.ids[:-size], end.ids[-size:], whole[size])

    def respelling(self, healed: HealedPrompt) -> Respelling:
        """Return what the answer to a healed prompt has to spell first."""
        return Respelling(self._spellings, self._spellings.spell(healed.removed) or b"")

    def _text(self, ids: Sequence[int]) -> str | None:
        """Return the text of ids; None where they do not spell whole characters."""
        spelled = self._spellings.spell(ids)
        try:
            return None if spelled is None else spelled.decode("utf-8")
        except UnicodeDecodeError:
            return None


def constrain(logits: torch.Tensor, respellings: Sequence[Respelling | None]) -> torch.Tensor:
    """Return logits ``[B, V]`` in which rows that still have to spell can do nothing else."""
    import torch

    busy = [(row, each) for row, each in enumerate(respellings) if each is not None and each.rest]
    if not busy:
        return logits
    constrained = logits.clone()
    for row, respelling in busy:
        ids = torch.tensor(respelling.allowed(), dtype=torch.long, device=logits.device)
        constrained[row] = -float("inf")
        constrained[row, ids] = logits[row, ids]
    return constrained
