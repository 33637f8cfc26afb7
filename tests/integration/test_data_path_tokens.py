"""The two real tokenizers: control tokens cannot be reached from text."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fim.data import TokenizerView
from fim.formats.families import QWEN_TOKEN_IDS, SMOLLM2_TOKEN_IDS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def added_tokens(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    decoder = tokenizer.backend_tokenizer.get_added_tokens_decoder()
    return {added.content: token_id for token_id, added in decoder.items()}


@pytest.mark.parametrize("name", ["qwen3", "smollm2"])
def test_no_added_token_can_be_reached_from_text(request: pytest.FixtureRequest, name: str) -> None:
    tokenizer: PreTrainedTokenizerBase = request.getfixturevalue(f"{name}_tokenizer")
    view: TokenizerView = request.getfixturevalue(f"{name}_view")
    added = added_tokens(tokenizer)
    for text in [*added, "".join(added), " ".join(added)]:
        ids = view.encode(text)
        assert not set(ids) & set(added.values())
        assert view.decode(ids) == text
    assert all(view.control_token_id(token) == token_id for token, token_id in added.items())
    assert all(view.decode([token_id]) == token for token, token_id in added.items())


def test_the_tables_agree_with_the_tokenizers(
    qwen3_view: TokenizerView, smollm2_view: TokenizerView
) -> None:
    assert {token: qwen3_view.control_token_id(token) for token in QWEN_TOKEN_IDS} == QWEN_TOKEN_IDS
    found = {token: smollm2_view.control_token_id(token) for token in SMOLLM2_TOKEN_IDS}
    assert found == SMOLLM2_TOKEN_IDS


@pytest.mark.parametrize("name", ["qwen3", "smollm2"])
def test_plain_code_has_the_ids_of_the_full_tokenizer(
    request: pytest.FixtureRequest, name: str
) -> None:
    tokenizer: PreTrainedTokenizerBase = request.getfixturevalue(f"{name}_tokenizer")
    view: TokenizerView = request.getfixturevalue(f"{name}_view")
    text = (Path(sysconfig.get_paths()["stdlib"]) / "bisect.py").read_text(encoding="utf-8")
    assert view.encode(text) == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert view.decode(view.encode(text)) == text
