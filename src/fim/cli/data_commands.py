"""``fim data inspect`` and ``fim data stats``: what examples hold; the group of ``fim data``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli import data_build
from fim.cli.command import Session, command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fim.config import Settings
    from fim.data import DataStats, ExampleEncoder, Inspection, LanguageHistogram, TokenizerView
    from fim.types import FimExample

DataArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="A built set, a parquet file or a JSONL.")
]
IndexOption = Annotated[
    int, typer.Option("--index", metavar="N", min=0, help="Which row, counted from 0.")
]
FormatOption = Annotated[
    str | None,
    typer.Option(
        "--format-name", metavar="F", help="Format in place of data.format.", show_default=False
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="M",
        help="Hub name or folder of the tokenizer, in place of model.name.",
        show_default=False,
    ),
]
AnchorOption = Annotated[
    int | None,
    typer.Option(
        "--anchor-lines",
        metavar="N",
        min=0,
        help="In place of data.anchor_lines.",
        show_default=False,
    ),
]
SplitOption = Annotated[
    str, typer.Option("--split", metavar="S", help="Side of a folder: train or held_out.")
]
HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="FILE", help="Also write a page.", show_default=False),
]
RowsOption = Annotated[
    int,
    typer.Option(
        "--rows", metavar="N", min=0, help="Rows counted for the histograms; 0 counts none."
    ),
]
HISTOGRAM_ROWS = 200
BAR_CHARS = 30


def register(app: typer.Typer) -> None:
    """Add ``fim data`` and its commands."""
    group = typer.Typer(no_args_is_help=True, help="Build, check and look at examples.")
    app.add_typer(group, name="data")
    data_build.register(group)
    examples = (
        "fim data inspect data --preset cpu",
        "fim data inspect rows.jsonl --index 3 --format-name psm --anchor-lines 4",
        "fim data inspect data --html row.html",
    )
    command(group, "inspect", examples=examples)(inspect_row)
    command(
        group,
        "stats",
        examples=("fim data stats data --html data.html", "fim data stats rows.jsonl --json"),
    )(stats)


def inspect_row(
    session: Session,
    data: DataArgument,
    index: IndexOption = 0,
    format_name: FormatOption = None,
    model: ModelOption = None,
    anchor_lines: AnchorOption = None,
    split: SplitOption = "train",
    html: HtmlOption = None,
    rows: RowsOption = HISTOGRAM_ROWS,
) -> None:
    """Show a row as it is trained, what was cut from it, and how long the set's rows are."""
    from fim.cli.tokenizing import load_view
    from fim.data import (
        cut_aligner,
        inspect_example,
        inspection_page,
        language_histograms,
        load_row,
    )
    from fim.runs.writing import write_text

    overrides = {
        "data.format": format_name,
        "data.anchor_lines": anchor_lines,
        "model.name": model,
    }
    settings = session.resolve(overrides).settings
    example = load_row(data, index, settings=settings.data, split=split)
    view = load_view(settings)
    encoder = _encoder(settings, view)
    align = cut_aligner(encoder.resolved.format, view, is_wanted=settings.data.align_cuts)
    inspection = inspect_example(example, encoder, align=align)
    counted = _first_rows(data, settings, split=example.split or "train", num_rows=rows)
    aligned = tuple(map(align, counted))
    num_moved = sum(one is not other for one, other in zip(counted, aligned, strict=True))
    histograms = language_histograms(aligned, encoder)
    trains_on = "middle" if settings.data.enable_response_masking else "all"
    if html is not None:
        title = f"{data} {split} row {index}"
        page = inspection_page(inspection, histograms, title=title, trains_on=trains_on)
        write_text(html, page)
    if session.output.is_json:
        languages = [each.as_json() for each in histograms]
        moved = {"moved": num_moved, "of": len(counted)}
        more = {"trains_on": trains_on, "moved_rows": moved, "languages": languages}
        page_at = {"side": example.split} | ({} if html is None else {"html": str(html)})
        session.output.write_json(inspection.as_json() | more | page_at)
        return
    _show_inspection(session, inspection, trains_on, is_held_out=example.split == "held_out")
    _show_histograms(session, histograms)
    if settings.data.align_cuts:
        place = f"{inspection.moved_chars} characters earlier than given"
        session.output.say(
            f"data.align_cuts: this hole begins {place if inspection.moved_chars else 'as given'}; "
            f"{num_moved} of the first {len(counted)} rows are moved"
        )
    if html is not None:
        session.output.say(f"page: {html}")


def stats(session: Session, data: DataArgument, html: HtmlOption = None) -> None:
    """Count languages, kinds, lengths, context and unusable rows."""
    from fim.data import BY_DATA, data_stats, divide, load_sides

    settings = session.resolve().settings
    whole = load_sides(data, settings=settings.data)
    division = divide(whole, settings=settings.data)
    named = {"train": whole, "held_out": division.held_out}
    loaded = {
        split: each
        for split, each in named.items()
        if each.examples and (split == "train" or division.rule == BY_DATA)
    }
    splits = {split: data_stats(each) for split, each in loaded.items()}
    if html is not None:
        from fim.cli.data_page import gather_page
        from fim.reporting.data_page import write_data_page

        page = gather_page(data, {split: each.examples for split, each in loaded.items()})
        write_data_page(page, html)
        session.output.say(f"page: {html}")
    if session.output.is_json:
        answer = {name: each.as_json() for name, each in splits.items()}
        sides = division.as_json()
        session.output.write_json({"source": str(data), "splits": answer, "sides": sides})
        return
    counts = ", ".join(f"{split.replace('_', ' ')} {n}" for split, n in division.counts().items())
    session.output.say(f"trained and held out {division.rule}: {counts}")
    for name, each in splits.items():
        session.output.table((name, ""), _stats_rows(each), is_answer=True)


def _encoder(settings: Settings, view: TokenizerView) -> ExampleEncoder:
    from fim.data import ExampleEncoder
    from fim.formats import resolve_format

    data = settings.data
    return ExampleEncoder(
        resolve_format(
            data.format, view, anchor_lines=data.anchor_lines, is_extended=settings.model.add_tokens
        ),
        view,
        max_seq_length=settings.model.max_seq_length,
        middle_reserve_tokens=data.middle_reserve_tokens,
        prefix_share=data.prefix_share,
        max_context_items=data.max_context_items,
        is_cut_exact=True,
    )


def _first_rows(
    data: Path, settings: Settings, *, split: str, num_rows: int
) -> tuple[FimExample, ...]:
    """Load the first rows of a set; context that cannot be used is no reason to refuse here."""
    from fim.data import load_examples

    if not num_rows:
        return ()
    limits = {"max_examples": num_rows, "max_unusable_context_share": 1.0}
    limited = settings.data.model_copy(update=limits)
    return tuple(load_examples(data, settings=limited, split=split).examples)


def _show_histograms(session: Session, histograms: Sequence[LanguageHistogram]) -> None:
    for each in histograms:
        most = max((counted.num_rows for counted in each.middle_tokens), default=0) or 1
        lines = [
            (counted.label, str(counted.num_rows), "#" * round(BAR_CHARS * counted.num_rows / most))
            for counted in each.middle_tokens
        ]
        title = f"{each.language}: tokens of the middle"
        session.output.table((title, f">{each.num_rows} rows", ""), lines, is_answer=True)


def _show_inspection(
    session: Session, inspection: Inspection, trains_on: str, *, is_held_out: bool
) -> None:
    from fim.cli.segments import ShownSegment, show_segments

    console = session.output.console(is_answer=True)
    show_segments(
        console,
        (
            ShownSegment(each.kind, each.text, each.trained, each.num_tokens)
            for each in inspection.segments
        ),
    )
    cut = inspection.cut
    num_tokens, num_prompt = len(inspection.input_ids), len(inspection.prompt_ids)
    console.print(f"{inspection.format}: {num_tokens} tokens, the prompt is {num_prompt} of them")
    console.print(
        f"cut: {cut.prefix_tokens} prefix tokens, {cut.suffix_tokens} suffix tokens, "
        f"{cut.context_items} context items"
    )
    if not inspection.round_trip:
        session.output.warn(
            "the tokenizer does not give the middle back byte for byte (it normalises it)"
        )
    if is_held_out:
        session.output.say("this row is held out: it is never trained on")
    if trains_on == "all":
        session.output.say(
            "data.enable_response_masking is false: training takes the loss on the whole row, "
            "not on the marked tokens alone"
        )


def _stats_rows(stats_of: DataStats) -> list[tuple[str, str]]:
    lengths = {
        "prefix": stats_of.prefix_chars,
        "middle": stats_of.middle_chars,
        "suffix": stats_of.suffix_chars,
    }
    rows = [
        ("examples", str(stats_of.num_examples)),
        ("documents", str(stats_of.num_documents)),
        ("languages", _counts(stats_of.languages)),
        ("span kinds", _counts(stats_of.span_kinds)),
        ("with context", str(stats_of.num_with_context)),
        ("empty middles", str(stats_of.num_empty_middles)),
    ]
    rows += [
        (f"{name} characters", f"{each.low} to {each.high}, median {each.median}, p95 {each.p95}")
        for name, each in lengths.items()
    ]
    rows += [
        ("rows dropped", _counts(stats_of.rows.dropped)),
        ("context dropped", _counts(stats_of.context_items.dropped)),
        ("remarks", _counts(stats_of.remarks)),
    ]
    return rows


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"
