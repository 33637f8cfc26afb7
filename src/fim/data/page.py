"""A training row as a stand-alone page: segments in colour, the mask, the cuts, the histograms."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from fim.types import IGNORED_LABEL, SegmentKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fim.data.histogram import Bin, LanguageHistogram
    from fim.data.inspect import InspectedSegment, Inspection

_COLOURS: Mapping[SegmentKind, tuple[str, str]] = {
    SegmentKind.CONTROL: ("#8250df", "#d2a8ff"),
    SegmentKind.SCAFFOLD: ("#6e7781", "#8b949e"),
    SegmentKind.CONTEXT: ("#0e7490", "#67e8f9"),
    SegmentKind.PREFIX: ("#0550ae", "#79c0ff"),
    SegmentKind.SUFFIX: ("#8a5a00", "#e3b341"),
    SegmentKind.ANCHOR: ("#1f6feb", "#a5d6ff"),
    SegmentKind.MIDDLE: ("#116329", "#7ee787"),
    SegmentKind.END: ("#cf222e", "#ff7b72"),
}
_STYLE = """
:root { color-scheme: light dark; --line: #d0d7de; --trained: #dafbe1; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; }
pre { border: 1px solid var(--line); border-radius: 6px; padding: 1rem; overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; font: 13px/1.5 ui-monospace, monospace; }
.trained { background: var(--trained); text-decoration: underline; }
table { border-collapse: collapse; } td, th { padding: .15rem .7rem .15rem 0; text-align: left; }
td.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { background: #0550ae; height: .8rem; min-width: 1px; }
.legend span { margin-right: 1rem; } .ids { overflow-wrap: anywhere; font: 12px ui-monospace; }
"""
_DARK = ":root { --line: #30363d; --trained: #12341f; } .bar { background: #79c0ff; }"
_BAR_REM = 18


def inspection_page(
    inspection: Inspection,
    histograms: Sequence[LanguageHistogram] = (),
    *,
    title: str,
    trains_on: str,
) -> str:
    """Return an HTML page without scripts and without anything that is fetched.

    Args:
        inspection: The row.
        histograms: Lengths of the set's rows, per language.
        title: What the row is, such as the file and the index.
        trains_on: ``middle`` or ``all``.
    """
    parts = (
        f"<h1>{escape(title)}</h1>",
        f"<p>Format <b>{escape(inspection.format)}</b>: {len(inspection.input_ids)} tokens, the "
        f"prompt is {len(inspection.prompt_ids)} of them.</p>",
        _legend(inspection.segments),
        "<pre>" + "".join(map(_segment, inspection.segments)) + "</pre>",
        _facts(inspection, trains_on),
        *map(_language, histograms),
        _ids(inspection),
    )
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_styles()}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>' + "\n".join(
        (*parts, "</body></html>\n")
    )


def _styles() -> str:
    light = "".join(f".{kind.value} {{ color: {one} }}" for kind, (one, _) in _COLOURS.items())
    dark = "".join(f".{kind.value} {{ color: {two} }}" for kind, (_, two) in _COLOURS.items())
    return f"{_STYLE}{light}\n@media (prefers-color-scheme: dark) {{ {_DARK}{dark} }}"


def _classes(segment: InspectedSegment) -> str:
    return f"{segment.kind.value} trained" if segment.trained else segment.kind.value


def _segment(segment: InspectedSegment) -> str:
    told = f"{segment.kind.value}, {segment.num_tokens} tokens"
    text = "".join(_visible(each) for each in segment.text)
    return f'<span class="{_classes(segment)}" title="{told}">{text}</span>'


def _visible(character: str) -> str:
    if character.isprintable() or character in "\n\t":
        return escape(character)
    return escape(ascii(character)[1:-1])


def _legend(segments: Sequence[InspectedSegment]) -> str:
    kinds = dict.fromkeys(segment.kind.value for segment in segments)
    names = "".join(f'<span class="{kind}">{kind}</span>' for kind in kinds)
    return f'<p class="legend">{names}<span class="trained">trained</span></p>'


def _facts(inspection: Inspection, trains_on: str) -> str:
    cut = inspection.cut
    rows = {
        "cut from the prefix": f"{cut.prefix_tokens} tokens",
        "cut from the suffix": f"{cut.suffix_tokens} tokens",
        "context items left out": str(cut.context_items),
        "the hole begins": _beginning(inspection.moved_chars),
        "middle comes back byte for byte": "yes" if inspection.round_trip else "no",
        "training takes the loss on": "the marked tokens" if trains_on == "middle" else "all",
    }
    cells = "".join(f"<tr><th>{name}</th><td>{value}</td></tr>" for name, value in rows.items())
    return f"<table>{cells}</table>"


def _beginning(moved_chars: int) -> str:
    return f"{moved_chars} characters earlier than given" if moved_chars else "where it was given"


def _language(histogram: LanguageHistogram) -> str:
    means = ", ".join(f"{kind.value} {mean:g}" for kind, mean in histogram.mean_tokens.items())
    return "\n".join(
        (
            f"<h2>{escape(histogram.language)}: {histogram.num_rows} rows</h2>",
            f"<p>{histogram.num_cut} lost something to the budget, {histogram.num_dropped} did not "
            f"fit. Mean tokens: {means or 'none'}.</p>",
            "<h3>Tokens of the middle</h3>",
            _bars(histogram.middle_tokens),
            "<h3>Tokens of the row</h3>",
            _bars(histogram.row_tokens),
        )
    )


def _bars(bins: Sequence[Bin]) -> str:
    most = max((each.num_rows for each in bins), default=0) or 1
    return "<table>" + "".join(_bar(each, most) for each in bins) + "</table>"


def _bar(counted: Bin, most: int) -> str:
    width = f"{_BAR_REM * counted.num_rows / most:.2f}rem"
    return (
        f'<tr><td class="n">{counted.label}</td><td class="n">{counted.num_rows}</td>'
        f'<td><div class="bar" style="width:{width}"></div></td></tr>'
    )


def _ids(inspection: Inspection) -> str:
    ids = " ".join(_marked_ids(inspection))
    return (
        f'<details><summary>ids (trained ones marked)</summary><p class="ids">{ids}</p></details>'
    )


def _marked_ids(inspection: Inspection) -> Iterator[str]:
    for token_id, label in zip(inspection.input_ids, inspection.labels, strict=True):
        is_trained = label != IGNORED_LABEL
        yield f'<span class="trained">{token_id}</span>' if is_trained else str(token_id)
