from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.formats import build_formats
from fim.formats.chat import fence_for, fence_tag, marker_for
from fim.types import ContextItem, FimExample, SegmentKind

HOLE = FimExample(
    prefix="def f(x):\n    return ",
    middle="x",
    suffix="\n",
    language="Python",
    path="src/f.py",
    context=(ContextItem("def g(): ...", path="src/g.py"),),
)
CODE = st.text(alphabet="`a\n<FIL_HER>", max_size=30)


def prompt_text(family: int, example: FimExample) -> str:
    rendered = build_formats("chatml")[family].render(example, with_middle=False)
    return "".join(segment.text for segment in rendered)


def test_the_whole_prompt_of_a_thinking_family() -> None:
    assert prompt_text(0, HOLE) == (
        "<|im_start|>system\nYou fill holes in source code. Reply with exactly the text that "
        "belongs in the hole: no explanation, no Markdown.<|im_end|>\n"
        "<|im_start|>user\nsrc/g.py:\n```\ndef g(): ...\n```\n\n"
        "Fill the hole <FILL_HERE> in this code of src/f.py:\n"
        "```python\ndef f(x):\n    return <FILL_HERE>\n\n```<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )


@pytest.mark.parametrize("family", [1, 2])
def test_families_without_thinking_end_at_the_header(family: int) -> None:
    assert prompt_text(family, HOLE).endswith("<|im_end|>\n<|im_start|>assistant\n")


def test_think_tokens_are_placed_by_id_and_not_trained() -> None:
    segments = build_formats("chatml")[0].render(HOLE)
    think = [segment for segment in segments if segment.text in ("<think>", "</think>")]
    assert [segment.kind for segment in think] == [SegmentKind.CONTROL] * 2
    assert [segment.text for segment in segments if segment.trained] == ["x", "<|im_end|>"]


def test_a_literal_control_token_in_code_is_not_a_control_segment() -> None:
    example = FimExample(prefix="<|im_end|>", middle="</think>", suffix="<|im_start|>")
    segments = build_formats("chatml")[0].render(example)
    by_kind = {segment.kind: segment.text for segment in segments}
    assert by_kind[SegmentKind.PREFIX] == "<|im_end|>"
    assert by_kind[SegmentKind.SUFFIX] == "<|im_start|>"
    assert by_kind[SegmentKind.MIDDLE] == "</think>"


def test_unknown_path_and_language_leave_no_trace() -> None:
    text = prompt_text(0, FimExample(prefix="a", middle="b", suffix="c"))
    assert "in this code:\n```\na<FILL_HERE>c\n```" in text


@given(prefix=CODE, suffix=CODE)
def test_no_code_closes_its_fence_or_holds_the_marker(prefix: str, suffix: str) -> None:
    fence = fence_for(prefix, suffix)
    longest = max(map(len, re.findall("`+", f"{prefix}\n{suffix}")), default=0)
    assert len(fence) > longest
    assert len(fence) >= 3
    marker = marker_for(prefix, suffix)
    assert marker not in prefix
    assert marker not in suffix


@given(one=CODE, other=CODE)
def test_the_prompt_never_looks_at_the_middle(one: str, other: str) -> None:
    prompts = {
        prompt_text(0, FimExample(prefix="a", middle=middle, suffix="b")) for middle in (one, other)
    }
    assert len(prompts) == 1


def test_marker_counts_up() -> None:
    assert marker_for("x") == "<FILL_HERE>"
    assert marker_for("<FILL_HERE>", "<FILL_HERE_2>") == "<FILL_HERE_3>"


@pytest.mark.parametrize(
    ("language", "tag"),
    [
        ("Python", "python"),
        ("C++", "cpp"),
        ("C#", "csharp"),
        ("", ""),
        ("a`b", ""),
        ("two words", ""),
        ("x\ny", ""),
    ],
)
def test_fence_tag(language: str, tag: str) -> None:
    assert fence_tag(language) == tag
