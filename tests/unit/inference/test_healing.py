"""What a healed prompt loses, and which tokens may spell it again."""

from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fakes import ByteTokenizer
from fim.inference.healing import Respelling, Spellings, TokenHealer, constrain
from fim.types import Cut, EncodedPrompt, EncodedSegment, SegmentKind

PIECES = [b"", b"a", b"ab", b"abc", b"b", b"c", b"\n", b" ", b" a", b"\n  ", b"abc", b"d"]
VOCABULARY = dict(enumerate(PIECES))
SPELLINGS = Spellings(VOCABULARY)


class PieceTokenizer(ByteTokenizer):
    """Spells the pieces above by their index."""

    def spellings(self) -> dict[int, bytes]:
        return {token_id: piece for token_id, piece in VOCABULARY.items() if token_id != 11}


HEALER = TokenHealer(PieceTokenizer({}))


def _prompt(*ids: int, kind: SegmentKind = SegmentKind.PREFIX, before: int = 1) -> EncodedPrompt:
    opening = EncodedSegment(SegmentKind.CONTROL, "<s>", (99,) * before, trained=False)
    text = EncodedSegment(kind, "", ids, trained=False)
    return EncodedPrompt((99,) * before + ids, (opening, text), Cut())


def _compatible(piece: bytes, text: bytes) -> bool:
    return bool(piece) and (piece.startswith(text) or text.startswith(piece))


@given(st.text("abc \n", min_size=1, max_size=5))
def test_tokens_that_may_come_are_those_of_a_plain_search(text: str) -> None:
    wanted = [each for each, piece in VOCABULARY.items() if _compatible(piece, text.encode())]
    assert sorted(SPELLINGS.beginning(text.encode())) == wanted


@given(st.text("abc\n ", max_size=8), st.integers(0, 2**16))
def test_whatever_is_chosen_spells_the_text(text: str, seed: int) -> None:
    chance = random.Random(seed)
    respelling, spelled, num_answer = Respelling(SPELLINGS, text.encode()), b"", 0
    while respelling.rest:
        token_id = chance.choice(respelling.allowed())
        num_answer += respelling.take(token_id)
        spelled += VOCABULARY[token_id]
    assert spelled.startswith(text.encode())
    assert num_answer == (len(spelled) > len(text.encode()))
    assert respelling.take(1)


@pytest.mark.parametrize(
    ("ids", "num_removed", "text"),
    [
        ((4, 1, 2), 3, "baab"),
        ((1, 7, 3), 2, " abc"),
        ((1, 6), 1, "\n"),
        ((1, 6, 7, 7), 3, "\n  "),
        ((9,), 1, "\n  "),
        ((1, 8), 1, " a"),
        ((4,) * 12, 8, "b" * 8),
        ((), 0, ""),
        ((1, 98), 0, ""),
        ((1, 0), 0, ""),
    ],
)
def test_the_word_at_the_cursor_is_taken_off(
    ids: tuple[int, ...], num_removed: int, text: str
) -> None:
    healed = HEALER.heal(_prompt(*ids))
    assert healed.ids + healed.removed == (99, *ids)
    assert (len(healed.removed), healed.text) == (num_removed, text)


def test_a_letter_that_is_no_token_alone_is_left() -> None:
    healer = TokenHealer(PieceTokenizer({}))
    assert healer.heal(_prompt(11)).removed == ()


def test_the_last_id_of_a_prompt_stays() -> None:
    assert HEALER.heal(_prompt(1, before=0)).removed == ()
    assert HEALER.heal(_prompt(4, 1, before=0)).removed == (1,)


@pytest.mark.parametrize("kind", [kind for kind in SegmentKind if kind not in ("prefix", "anchor")])
def test_only_text_before_the_cursor_is_healed(kind: SegmentKind) -> None:
    assert HEALER.heal(_prompt(1, 2, kind=kind)).removed == ()
    assert HEALER.heal(EncodedPrompt((), (), Cut())).removed == ()


def test_a_character_of_several_tokens_is_taken_off_whole() -> None:
    class Bytes(ByteTokenizer):
        def spellings(self) -> dict[int, bytes]:
            return {byte: bytes([byte]) for byte in range(256)}

    healer = TokenHealer(Bytes({}))
    for text, expected in (("x = é", " é"), ("x\U0001f600", "\U0001f600"), ("ab\u00e9", "abé")):
        healed = healer.heal(_prompt(*text.encode()))
        assert healed.text == expected
        assert bytes(healed.removed).decode() == expected
    assert healer.heal(_prompt(*"\U0001f600".encode()[1:])).removed == ()


@pytest.mark.parametrize("is_wanted", [True, False])
def test_a_tokenizer_that_cannot_spell_leaves_prompts_whole(is_wanted: bool) -> None:
    healer = TokenHealer(ByteTokenizer({}), is_wanted=is_wanted)
    healed = healer.heal(_prompt(1, 2))
    assert (healed.removed, healer.respelling(healed).rest) == ((), b"")
    assert TokenHealer(PieceTokenizer({}), is_wanted=False).heal(_prompt(1)).removed == ()


def test_only_rows_that_spell_are_constrained() -> None:
    logits = torch.randn(3, len(PIECES))
    busy, free = Respelling(SPELLINGS, b"ab"), Respelling(SPELLINGS, b"")
    found = constrain(logits, [None, busy, free])
    assert torch.equal(found[[0, 2]], logits[[0, 2]])
    allowed = [1, 2, 3, 10]
    assert torch.equal(found[1, allowed], logits[1, allowed])
    assert torch.isinf(found[1]).sum() == len(PIECES) - len(allowed)
    assert constrain(logits, [None, free, None]) is logits
