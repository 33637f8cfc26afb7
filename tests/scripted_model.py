"""A causal model that follows a script, and the tokenizer and encoder that go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import torch
from transformers import Cache, LlamaConfig

from fim.types import Cut, EncodedExample, EncodedPrompt, EncodedSegment, FimExample, SegmentKind

END_ID = 0
PAD_ID = 1
OTHER_CONTROL_ID = 2
FIRST_TEXT_ID = 3


@dataclass(frozen=True)
class ScriptTokens:
    """The ids of the scripted format."""

    token_ids: Mapping[str, int]
    stop_ids: tuple[int, ...] = (END_ID,)
    pad_id: int = PAD_ID


class PieceTokenizer:
    """Ids stand for pieces of bytes; encoding is not needed by generation."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = list(pieces)

    def control_token_id(self, token: str) -> int | None:
        return {"<end>": END_ID, "<pad>": PAD_ID, "<other>": OTHER_CONTROL_ID}.get(token)

    def encode(self, text: str) -> list[int]:
        return [FIRST_TEXT_ID + self.pieces.index(text.encode())] if text else []

    def decode(self, ids: Sequence[int]) -> str:
        return b"".join(self.pieces[each - FIRST_TEXT_ID] for each in ids).decode(
            "utf-8", "replace"
        )


class Script:
    """Answers, each a sequence of byte pieces or control ids, laid out as a chain of ids.

    The prompt of answer n ends with an id of its own, whose successor is the answer's first id.
    """

    def __init__(self, answers: Sequence[Sequence[bytes | int]]) -> None:
        self.pieces: list[bytes] = []
        self.successors: dict[int, int] = {}
        self.starts: list[int] = []
        for answer in answers:
            current = self._new_id(b"")
            self.starts.append(current)
            for piece in answer:
                if isinstance(piece, int) and piece != OTHER_CONTROL_ID:
                    self.successors[current] = piece
                    break
                if piece == OTHER_CONTROL_ID:
                    self.successors[current] = OTHER_CONTROL_ID
                    continue
                following = self._new_id(bytes(piece) if not isinstance(piece, int) else b"")
                if self.successors.get(current) == OTHER_CONTROL_ID:
                    self.successors[OTHER_CONTROL_ID] = following
                else:
                    self.successors[current] = following
                current = following

    def _new_id(self, piece: bytes) -> int:
        self.pieces.append(piece)
        return FIRST_TEXT_ID + len(self.pieces) - 1


def note_positions(cache: Cache | None, input_ids: torch.Tensor) -> None:
    """Fill a cache with nothing at each position, as a model does that needs no keys."""
    if cache is not None:
        nothing = torch.zeros(*input_ids.shape, 1)[:, None]
        cache.update(nothing, nothing, 0)


class ScriptedModel(torch.nn.Module):
    """Gives the script's successor of the last id a high score."""

    def __init__(self, script: Script, *, window: int = 4096) -> None:
        super().__init__()
        self.script = script
        self.anchor = torch.nn.Parameter(torch.zeros(1))
        self.config = LlamaConfig(num_hidden_layers=1, max_position_embeddings=window)
        self.calls: list[int] = []

    def forward(
        self, input_ids: torch.Tensor, past_key_values: Cache | None = None, **_: object
    ) -> SimpleNamespace:
        note_positions(past_key_values, input_ids)
        self.calls.append(len(input_ids))
        last = input_ids[:, -1].tolist()
        logits = torch.zeros(len(last), 1, FIRST_TEXT_ID + len(self.script.pieces))
        for row, token_id in enumerate(last):
            logits[row, 0, self.script.successors.get(token_id, END_ID)] = 10.0
        return SimpleNamespace(logits=logits)


class ScriptEncoder:
    """Makes prompts whose last id chooses the answer named by the example's id."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.tokenizer = PieceTokenizer(script.pieces)
        self.resolved = ScriptTokens({"<end>": END_ID, "<other>": OTHER_CONTROL_ID})

    def prompt(self, example: FimExample) -> EncodedPrompt:
        number = int(example.id or 0)
        ids = (*([FIRST_TEXT_ID] * (number % 3)), self.script.starts[number])
        return EncodedPrompt(ids, (EncodedSegment(SegmentKind.PREFIX, "", ids, False),), Cut())

    def try_encode(self, example: FimExample) -> EncodedExample | str:
        return "middle_too_long"
