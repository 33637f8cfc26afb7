from __future__ import annotations

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from family_tokenizers import FAMILIES, family_view
from fim.data import TokenizerView
from fim.errors import FormatUnsupportedError
from fim.formats import resolve_format
from fim.types import FimExample


def make_tokenizer(*, is_plain: bool = False) -> PreTrainedTokenizerFast:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {"<s>": 0} | {letter: number for number, letter in enumerate(alphabet, start=1)}
    backend = Tokenizer(BPE(vocab=vocab, merges=[]))
    if not is_plain:
        backend.normalizer = normalizers.NFC()
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<s>"])
    backend.add_tokens([AddedToken("<mid>", special=False, normalized=False)])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>")


def test_text_never_becomes_a_control_token() -> None:
    tokenizer = make_tokenizer()
    assert tokenizer("<mid>")["input_ids"] == [0, 257]
    view = TokenizerView(tokenizer)
    ids = view.encode("<mid><s>")
    assert not {0, 257} & set(ids)
    assert view.decode(ids) == "<mid><s>"


def test_control_tokens_are_found_and_shown() -> None:
    view = TokenizerView(make_tokenizer())
    assert view.control_token_id("<mid>") == 257
    assert view.control_token_id("<s>") == 0
    assert view.control_token_id("<none>") is None
    assert view.control_token_id("a") is None
    assert view.decode([0, *view.encode(" x , y ."), 257]) == "<s> x , y .<mid>"


def test_the_normaliser_is_kept() -> None:
    view = TokenizerView(make_tokenizer())
    assert view.encode("e\u0301") == view.encode("\u00e9")


def test_a_tokenizer_of_a_model_alone_works() -> None:
    view = TokenizerView(make_tokenizer(is_plain=True))
    assert len(view.encode("ab")) == 2


def test_a_tokenizer_without_a_fast_backend_is_refused() -> None:
    class Slow:
        pass

    with pytest.raises(FormatUnsupportedError, match="Slow has no fast backend"):
        TokenizerView(Slow())  # type: ignore[arg-type]


@pytest.mark.parametrize("family", ["codellama", "codestral", "codegemma"])
@pytest.mark.parametrize("text", ["def f", " def f", "  x\n", "", "\ta \u00e9", "a<s>b"])
def test_the_leading_space_of_sentencepiece_is_neither_added_nor_lost(
    family: str, text: str
) -> None:
    view = family_view(family)
    ids = view.encode(text)
    end = FAMILIES[family].end
    end_id = view.control_token_id(end)
    assert end_id is not None
    assert view.decode([end_id, *ids, end_id]) == f"{end}{text}{end}"
    assert view.decode(ids) == text


def test_the_space_that_a_family_puts_before_its_prefix_is_one_token_with_the_word() -> None:
    view = family_view("codellama")
    segments = resolve_format("psm", view).format.render(FimExample("def", "x", "d"))
    prefix, suffix = (
        segment.text for segment in segments if segment.kind.value in ("prefix", "suffix")
    )
    assert view.encode(prefix)[0] == view.encode(" d")[0]
    assert len(view.encode(" d")) == 1
    assert suffix == "d"
