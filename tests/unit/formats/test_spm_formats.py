from __future__ import annotations

import pytest

from fim.formats import build_formats
from fim.types import ContextItem, FimExample, SegmentKind

HOLE = FimExample(prefix="a = ", middle="1", suffix="\nb\n", path="x.py", repo="r")
WITH_CONTEXT = FimExample(
    prefix="f(",
    middle=")",
    suffix="",
    context=(ContextItem("def f(): ...", path="lib.py"), ContextItem("g\n")),
    path="main.py",
    repo="acme/tools",
)


def drawn(name: str, family: str, example: FimExample, *, anchor_lines: int = 0) -> str:
    variant = next(
        each for each in build_formats(name, anchor_lines=anchor_lines) if each.family == family
    )
    return "|".join(segment.text for segment in variant.render(example))


@pytest.mark.parametrize(
    ("name", "family", "expected"),
    [
        ("spm", "qwen", "<|fim_suffix|>|\nb\n|<|fim_prefix|>|a = |<|fim_middle|>|1|<|endoftext|>"),
        ("spm2", "qwen", "<|fim_prefix|>|<|fim_suffix|>|\nb\n|<|fim_middle|>|a = |1|<|endoftext|>"),
        ("codestral", "qwen", "<|fim_suffix|>|\nb\n|<|fim_prefix|>|a = |1|<|endoftext|>"),
        ("codestral", "codestral", "<s>|[SUFFIX]|\nb\n|[PREFIX]| a = |1|</s>"),
        ("spm2", "codellama", "<s>|▁<PRE>|▁<SUF>|\nb\n|▁<MID>| a = |1|▁<EOT>"),
        ("psm", "codellama", "<s>|▁<PRE>| a = |▁<SUF>|\nb\n|▁<MID>|1|▁<EOT>"),
        (
            "spm",
            "seed-coder",
            "<[begin▁of▁sentence]>|<[fim-suffix]>|\nb\n|<[fim-prefix]>|a = |<[fim-middle]>|1|"
            "<[end▁of▁sentence]>",
        ),
        (
            "psm",
            "deepseek-coder",
            "<｜begin▁of▁sentence｜>|<｜fim▁begin｜>|a = |<｜fim▁hole｜>|\nb\n|<｜fim▁end｜>|1|"
            "<｜end▁of▁sentence｜>",
        ),
        (
            "psm",
            "codegemma",
            "<bos>|<|fim_prefix|>|a = |<|fim_suffix|>|\nb\n|<|fim_middle|>|1|<eos>",
        ),
        (
            "psm",
            "granite4",
            "<|fim_prefix|>|a = |<|fim_suffix|>|\nb\n|<|fim_middle|>|1|<|end_of_text|>",
        ),
        ("psm", "starcoder2", "<fim_prefix>|a = |<fim_suffix>|\nb\n|<fim_middle>|1|<|endoftext|>"),
    ],
)
def test_the_order_of_the_parts(name: str, family: str, expected: str) -> None:
    assert drawn(name, family, HOLE) == expected


@pytest.mark.parametrize(
    ("name", "family", "expected"),
    [
        (
            "repo",
            "qwen",
            "<|repo_name|>|acme/tools\n|<|file_sep|>|lib.py\ndef f(): ...\n|<|file_sep|>|unknown\n"
            "g\n|<|file_sep|>|main.py\n|<|fim_prefix|>|f(|<|fim_suffix|>||<|fim_middle|>|)|"
            "<|endoftext|>",
        ),
        (
            "infill",
            "qwen",
            "<|repo_name|>|myproject\n|<|file_sep|>|lib.py\n|def f(): ...|<|file_sep|>|tmp\n|g\n|"
            "<|file_sep|>|filename\n|<|fim_prefix|>|f(|<|fim_suffix|>||<|fim_middle|>|)|"
            "<|endoftext|>",
        ),
        (
            "psm",
            "starcoder2",
            "<repo_name>|acme/tools|<file_sep>|lib.py\ndef f(): ...\n|<file_sep>|unknown\ng\n|"
            "<file_sep>|<fim_prefix>|main.py\n|f(|<fim_suffix>||<fim_middle>|)|<|endoftext|>",
        ),
        (
            "psm",
            "deepseek-coder",
            "<｜begin▁of▁sentence｜>|#lib.py\ndef f(): ...\n|#unknown\ng\n|#main.py\n|"
            "<｜fim▁begin｜>|f(|<｜fim▁hole｜>||<｜fim▁end｜>|)|<｜end▁of▁sentence｜>",
        ),
        (
            "codestral",
            "codestral",
            "<s>|[SUFFIX]||[PREFIX]| +++++ lib.py\ndef f(): ...\n\n|+++++ unknown\ng\n\n|"
            "+++++ main.py\n|f(|)|</s>",
        ),
        (
            "psm",
            "codegemma",
            "<bos>|lib.py\ndef f(): ...\n|<|file_separator|>|unknown\ng\n|<|file_separator|>|"
            "main.py\n|<|fim_prefix|>|f(|<|fim_suffix|>||<|fim_middle|>|)|<eos>",
        ),
        (
            "psm",
            "granite",
            "<filename>|lib.py\ndef f(): ...\n|<filename>|unknown\ng\n|<filename>|main.py\n|"
            "<fim_prefix>|f(|<fim_suffix>||<fim_middle>|)|<|endoftext|>",
        ),
        (
            "spm",
            "seed-coder",
            "<[begin▁of▁sentence]>|<[fim-suffix]>||<[fim-prefix]>|f(|<[fim-middle]>|)|"
            "<[end▁of▁sentence]>",
        ),
    ],
)
def test_other_files_are_shown_in_the_way_of_the_family(
    name: str, family: str, expected: str
) -> None:
    assert drawn(name, family, WITH_CONTEXT) == expected


def test_the_repository_layout_has_its_header_without_context_too() -> None:
    text = drawn("repo", "qwen", FimExample(prefix="a", middle="b", suffix="c"))
    assert text.startswith("<|repo_name|>|unknown\n|<|file_sep|>|unknown\n|<|fim_prefix|>|a|")
    text = drawn("repo", "starcoder2", HOLE)
    assert text.startswith("<repo_name>|r|<file_sep>|<fim_prefix>|x.py\n|a = |")


def test_the_documented_layout_of_qwen3_coder() -> None:
    assert drawn("chatml-native", "qwen", HOLE).replace("|<|", "<|").replace("|>|", "|>") == (
        "<|im_start|>system\nYou are a code completion assistant.<|im_end|>\n"
        "<|im_start|>user\n<|fim_prefix|>a = <|fim_suffix|>\nb\n<|fim_middle|><|im_end|>\n"
        "<|im_start|>assistant\n|1<|im_end|>"
    )


@pytest.mark.parametrize("name", ["psm", "repo", "infill", "chatml-native"])
def test_every_prefix_first_format_has_an_anchored_variant(name: str) -> None:
    example = FimExample(prefix="a\nb\nc", middle="1", suffix="s")
    for variant in build_formats(name, anchor_lines=1):
        segments = variant.render(example)
        kinds = [segment.kind for segment in segments]
        tail = segments[kinds.index(SegmentKind.ANCHOR)]
        head = segments[kinds.index(SegmentKind.PREFIX)]
        assert (tail.text, tail.trained) == ("b\nc", False)
        assert head.text.lstrip(" ") == "a\n"
        assert kinds[-3:] == [SegmentKind.ANCHOR, SegmentKind.MIDDLE, SegmentKind.END]
        assert variant.anchor_lines == 1
