"""Published figures to read one's own beside: each with its metric and its source."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Anchor:
    """A published figure.

    Args:
        model: Whose it is.
        value: Figure in per cent.
        metric: What was measured, exactly; figures of different metrics do not compare.
        source: Where it is printed.
    """

    model: str
    value: str
    metric: str
    source: str


_SANTACODER = "exact match, SantaCoder-FIM, mean of Python, Java and JavaScript"
_SINGLE = "pass@1, HumanEval-Infilling single-line (OpenAI), 1,033 holes"
_CCEVAL = "exact match with cross-file context, CrossCodeEval, mean of four languages"
_SAFIM = "pass@1, SAFIM, mean of block, control and API, four languages"
_REPOBENCH = "exact match, RepoBench 1.1 Python, prompts up to 8k tokens"
_MULTI = "pass@1, HumanEval-Infilling multi-line (OpenAI), 5,815 holes"

ANCHORS = (
    Anchor("Qwen2.5-Coder 7B", "86.2", _SANTACODER, "Seed-Coder report, table 5"),
    Anchor("Qwen2.5-Coder 1.5B", "83.5", _SANTACODER, "Qwen2.5-Coder report, table 7"),
    Anchor("StarCoder2 7B", "82.0", _SANTACODER, "Seed-Coder report, table 5"),
    Anchor("always answer }", "24.3", _SANTACODER, "measured over its gold answers"),
    Anchor("DeepSeek-Coder 6.7B base", "87.1", _SINGLE, "allenai/olmo-cookbook#30"),
    Anchor("InCoder 6.7B", "69.0", _SINGLE, "InCoder paper, table 1"),
    Anchor("Mellum-4b base", "66.2", _SINGLE, "JetBrains model card"),
    Anchor("Mellum-4b SFT Python", "80.5", _SINGLE, "JetBrains model card"),
    Anchor("Qwen2.5-Coder 7B", "49.3", _CCEVAL, "Seed-Coder report, table 3"),
    Anchor("Seed-Coder 8B", "53.7", _CCEVAL, "Seed-Coder report, table 3"),
    Anchor("DeepSeek-Coder 33B", "69.0", _SAFIM, "SAFIM paper, table 4"),
    Anchor("DeepSeek-Coder 6.7B", "63.4", _SAFIM, "SAFIM paper, table 4"),
    Anchor("Codestral 22B", "46.1", _REPOBENCH, "DeepSeek-V2 README"),
    Anchor("Mellum-4b base", "28.0", _REPOBENCH, "JetBrains model card"),
    Anchor("InCoder 6.7B", "38.6", _MULTI, "InCoder paper, table 1"),
    Anchor("Mellum-4b SFT Python", "48.2", _MULTI, "JetBrains model card"),
)


def anchors_for(suite: str) -> tuple[Anchor, ...]:
    """Return the published figures that belong beside a suite; none beside one's own code."""
    wanted = {
        "humaneval-single-line": (_SINGLE,),
        "humaneval-multi-line": (_MULTI,),
        "santacoder-fim": (_SANTACODER,),
        "cceval": (_CCEVAL,),
        "safim": (_SAFIM,),
        "repobench": (_REPOBENCH,),
    }.get(suite, ())
    return tuple(anchor for anchor in ANCHORS if anchor.metric in wanted)
