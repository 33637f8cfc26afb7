from __future__ import annotations

from fim.formats import build_formats
from fim.types import ContextItem, FimExample


def test_the_prompt_is_the_prefix_alone() -> None:
    example = FimExample(
        prefix="x = ", middle="1", suffix="\n", context=(ContextItem("c"),), path="p.py"
    )
    rendered = build_formats("left-to-right")[0].render(example)
    assert [(segment.kind.value, segment.text) for segment in rendered] == [
        ("prefix", "x = "),
        ("middle", "1"),
        ("end", "<|endoftext|>"),
    ]


def test_an_empty_prefix_still_gives_something_to_ask_with() -> None:
    example = FimExample(prefix="", middle="1", suffix="\n")
    (opening,) = build_formats("left-to-right")[0].render(example, with_middle=False)
    assert (opening.kind.value, opening.text, opening.trained) == (
        "control",
        "<|endoftext|>",
        False,
    )


def test_stops_and_padding() -> None:
    for variant in build_formats("left-to-right"):
        assert variant.stop_tokens[0] == variant.end_token
        assert variant.pad_token not in variant.stop_tokens
