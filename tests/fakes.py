"""Hand-written stand-ins that several tests share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fim.formats.families import QWEN_TOKEN_IDS, SMOLLM2_TOKEN_IDS


class ByteTokenizer:
    """A ``TextTokenizer`` over UTF-8 bytes with named control tokens.

    Args:
        control_tokens: Token text -> id.
        offset: Id of byte 0; the bytes take ``offset`` to ``offset + 255``.
    """

    def __init__(self, control_tokens: Mapping[str, int], *, offset: int = 0) -> None:
        self._ids = dict(control_tokens)
        self._tokens = {token_id: token for token, token_id in self._ids.items()}
        self._offset = offset

    @classmethod
    def qwen3(cls) -> ByteTokenizer:
        """Bytes at 0 to 255, the control tokens of Qwen3 at their real ids (up to 151668)."""
        return cls(QWEN_TOKEN_IDS)

    @classmethod
    def smollm2(cls) -> ByteTokenizer:
        """The control tokens of SmolLM2 at their real ids 0 to 16, bytes at 17 to 272."""
        return cls(SMOLLM2_TOKEN_IDS, offset=len(SMOLLM2_TOKEN_IDS))

    @property
    def num_ids(self) -> int:
        """Size that a model's vocabulary needs at least."""
        return max(*self._tokens, self._offset + 255) + 1

    def control_token_id(self, token: str) -> int | None:
        """Return the id of a control token, or None."""
        return self._ids.get(token)

    def encode(self, text: str) -> list[int]:
        """Return one id per byte."""
        return [byte + self._offset for byte in text.encode("utf-8", "surrogatepass")]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids, control tokens included literally."""
        pieces = [
            self._tokens[each].encode() if each in self._tokens else bytes([each - self._offset])
            for each in ids
        ]
        return b"".join(pieces).decode("utf-8", "replace")
