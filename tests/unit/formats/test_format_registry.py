from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from fakes import ByteTokenizer
from family_tokenizers import FAMILIES, family_view
from fim.errors import (
    AdapterMismatchError,
    ConflictingSettingsError,
    FormatUnsupportedError,
    UnknownFormatError,
)
from fim.formats import (
    format_names,
    format_summaries,
    resolve_format,
    resolve_record,
)
from fim.formats.families import QWEN_TOKEN_IDS, SMOLLM2_TOKEN_IDS
from fim.formats.sentinel_families import ADDED_FAMILY, ADDED_TOKENS
from fim.types import FimExample

EXPECTED_FAMILIES = [
    ("chatml", "qwen3", "smollm2"),
    ("psm", "qwen", "smollm2"),
    ("spm", "qwen", "smollm2"),
    ("spm2", "qwen", "smollm2"),
    ("codestral", "qwen", "smollm2"),
    ("left-to-right", "qwen", "smollm2"),
]
QWEN_ONLY = ("chatml-native", "repo", "infill")
QWEN = ByteTokenizer.qwen3()
RENDERINGS = [
    *((name, 0) for name in format_names()),
    *((name, 4) for name in ("psm", "chatml-native", "repo", "infill")),
]
EXAMPLE = FimExample(prefix="a", middle="b", suffix="c")
SPEAKABLE = [
    *((name, ByteTokenizer.qwen3()) for name in format_names()),
    *((name, ByteTokenizer.smollm2()) for name in format_names() if name not in QWEN_ONLY),
]
OWN_FAMILIES = [
    ("psm", "starcoder2"),
    ("spm2", "starcoder2"),
    ("repo", "starcoder2"),
    ("psm", "codellama"),
    ("spm2", "codellama"),
    ("psm", "deepseek-coder"),
    ("codestral", "codestral"),
    ("psm", "codegemma"),
    ("psm", "granite"),
    ("repo", "granite"),
    ("psm", "granite4"),
    ("spm", "seed-coder"),
    *(("left-to-right", family) for family in FAMILIES if family not in (ADDED_FAMILY, "granite")),
]
NOT_SPOKEN = [
    ("psm", "seed-coder", "<|fim_prefix|>"),
    ("psm", "codestral", "<|fim_prefix|>"),
    ("spm", "codellama", "<|fim_prefix|>"),
    ("chatml", "granite4", "<|im_start|>"),
    ("chatml-native", "starcoder2", "<|im_start|>"),
    ("infill", "granite4", "<|endoftext|>"),
    ("repo", "codegemma", "<repo_name>"),
    ("psm", ADDED_FAMILY, "has id"),
]


def without(ids: Mapping[str, int], *tokens: str) -> ByteTokenizer:
    return ByteTokenizer({token: each for token, each in ids.items() if token not in tokens})


@pytest.mark.parametrize(("name", "qwen", "smollm2"), EXPECTED_FAMILIES)
def test_the_family_follows_from_the_tokenizer(name: str, qwen: str, smollm2: str) -> None:
    assert resolve_format(name, ByteTokenizer.qwen3()).format.family == qwen
    assert resolve_format(name, ByteTokenizer.smollm2()).format.family == smollm2


@pytest.mark.parametrize(("name", "tokenizer"), SPEAKABLE)
def test_ids_are_bound(name: str, tokenizer: ByteTokenizer) -> None:
    resolved = resolve_format(name, tokenizer)
    assert resolved.end_id == tokenizer.control_token_id(resolved.format.end_token)
    assert resolved.stop_ids[0] == resolved.end_id
    assert len(set(resolved.stop_ids)) == len(resolved.stop_ids)
    assert resolved.pad_id != resolved.end_id
    assert resolved.token_ids == {
        token: tokenizer.control_token_id(token) for token in resolved.format.control_tokens
    }


def test_qwen_psm_has_the_documented_ids() -> None:
    resolved = resolve_format("psm", ByteTokenizer.qwen3())
    assert resolved.end_id == 151643
    assert set(resolved.stop_ids) == {151643, 151645, *range(151659, 151665)}
    assert resolved.pad_id == 151662


def test_qwen_without_thinking_is_its_own_chat_family() -> None:
    older = without(QWEN_TOKEN_IDS, "<think>", "</think>")
    assert resolve_format("chatml", older).format.family == "qwen2.5"


def test_a_missing_token_is_refused_with_the_reason_and_what_works() -> None:
    plain = without(
        SMOLLM2_TOKEN_IDS, "<issue_start>", "<filename>", "<jupyter_code>", "<file_sep>"
    )
    with pytest.raises(FormatUnsupportedError) as caught:
        resolve_format("psm", plain)
    assert "as smollm2: it has no single token <filename>" in caught.value.message
    assert "and 5 more" in caught.value.message
    assert "chatml" in caught.value.hint
    reasons = caught.value.context["reasons"]
    assert "it has no single token <|fim_prefix|>" in reasons["qwen"]
    assert {"qwen", "smollm2", "starcoder2", "codellama"} < set(reasons)


@pytest.mark.parametrize(("name", "family"), OWN_FAMILIES)
def test_a_family_is_found_by_its_own_tokens(name: str, family: str) -> None:
    view = family_view(family)
    resolved = resolve_format(name, view)
    assert resolved.format.family == family
    for token, token_id in FAMILIES[family].ids.items():
        if token_id is not None:
            assert view.control_token_id(token) == token_id
    assert resolve_record(resolved.record(), view) == resolved
    first = resolved.format.render(EXAMPLE)[0].text
    bos = FAMILIES[family].bos
    assert bos is None or first == bos


@pytest.mark.parametrize(("name", "family", "told"), NOT_SPOKEN)
def test_a_family_is_refused_in_a_format_it_was_not_made_for(
    name: str, family: str, told: str
) -> None:
    with pytest.raises(FormatUnsupportedError) as caught:
        resolve_format(name, family_view(family))
    reasons = caught.value.context["reasons"]
    assert told in str(reasons)


def test_codellama_under_other_ids_is_refused() -> None:
    moved = {token: 900 + number for number, token in enumerate(FAMILIES["codellama"].ids)}
    with pytest.raises(FormatUnsupportedError, match=r"as codellama: its .* instead of 32007"):
        resolve_format("psm", ByteTokenizer(moved))


@pytest.mark.parametrize("name", ["psm", "spm", "spm2", "codestral", "repo", "infill"])
def test_added_tokens_are_taken_only_when_asked(name: str) -> None:
    tokenizer = ByteTokenizer({token: 500 + at for at, token in enumerate(ADDED_TOKENS)})
    with pytest.raises(FormatUnsupportedError):
        resolve_format(name, tokenizer)
    resolved = resolve_format(name, tokenizer, is_extended=True)
    assert resolved.format.family == ADDED_FAMILY
    assert resolve_record(resolved.record(), tokenizer) == resolved
    assert resolve_format(name, ByteTokenizer.qwen3(), is_extended=True).format.family == "qwen"


def test_a_token_under_another_id_is_refused() -> None:
    moved = dict(QWEN_TOKEN_IDS) | {"<|fim_middle|>": 151661, "<|fim_suffix|>": 151660}
    with pytest.raises(FormatUnsupportedError, match="has id 1516"):
        resolve_format("psm", ByteTokenizer(moved))


def test_a_tokenizer_that_speaks_nothing_gets_the_list() -> None:
    with pytest.raises(FormatUnsupportedError) as caught:
        resolve_format("chatml", ByteTokenizer({"<s>": 300}))
    assert "fim formats list" in caught.value.hint


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownFormatError) as caught:
        resolve_format("chat-ml", ByteTokenizer.qwen3())
    assert "chat-ml" in caught.value.message
    assert "did you mean 'chatml'" in caught.value.hint


def test_a_name_like_none_is_answered_with_the_list() -> None:
    with pytest.raises(UnknownFormatError) as caught:
        resolve_format("###", ByteTokenizer.qwen3())
    assert caught.value.hint == "see: fim formats list"


@pytest.mark.parametrize("name", ["chatml", "left-to-right", "spm", "spm2", "codestral"])
def test_anchor_lines_need_a_format_with_anchors(name: str) -> None:
    with pytest.raises(ConflictingSettingsError) as caught:
        resolve_format(name, ByteTokenizer.qwen3(), anchor_lines=4)
    assert "anchor_lines=4" in caught.value.message
    assert "psm" in caught.value.hint


def test_summaries_name_every_format() -> None:
    summaries = format_summaries()
    assert tuple(each.name for each in summaries) == format_names()
    first = summaries[0].as_json()
    assert first["name"] == "chatml"
    assert first["version"] == 1
    assert first["order"] == "chat"
    assert first["families"] == ["qwen3", "qwen2.5", "smollm2"]


@pytest.mark.parametrize("anchor_lines", [0, 4])
def test_a_record_leads_back_to_its_format(anchor_lines: int) -> None:
    tokenizer = ByteTokenizer.qwen3()
    resolved = resolve_format("psm", tokenizer, anchor_lines=anchor_lines)
    assert resolve_record(resolved.record(), tokenizer) == resolved


def test_fingerprints_tell_every_rendering_apart() -> None:
    resolved = [
        resolve_format(name, tokenizer, anchor_lines=anchor_lines)
        for tokenizer in (QWEN, ByteTokenizer.smollm2())
        for name, anchor_lines in RENDERINGS
        if tokenizer is QWEN or name not in QWEN_ONLY
    ]
    assert len({each.fingerprint for each in resolved}) == len(resolved)


def test_a_record_of_another_rendering_is_refused() -> None:
    tokenizer = ByteTokenizer.qwen3()
    record = resolve_format("psm", tokenizer).record().with_fingerprint("0" * 32)
    with pytest.raises(AdapterMismatchError, match="fingerprint"):
        resolve_record(record, tokenizer)


def test_a_record_for_another_base_is_refused() -> None:
    record = resolve_format("psm", ByteTokenizer.qwen3()).record()
    with pytest.raises(AdapterMismatchError, match="does not fit this base"):
        resolve_record(record, ByteTokenizer.smollm2())


@pytest.mark.parametrize("change", [{"name": "spm9"}, {"name": "chatml", "anchor_lines": 2}])
def test_a_record_of_an_unknown_format_is_refused(change: dict[str, object]) -> None:
    tokenizer = ByteTokenizer.qwen3()
    record = replace(resolve_format("psm", tokenizer).record(), **change)
    with pytest.raises(AdapterMismatchError, match="not known here"):
        resolve_record(record, tokenizer)


def test_a_record_of_an_unknown_family_is_refused() -> None:
    tokenizer = ByteTokenizer.qwen3()
    record = replace(resolve_format("psm", tokenizer).record(), family="other")
    with pytest.raises(AdapterMismatchError, match="family is not known"):
        resolve_record(record, tokenizer)
