"""``fim formats``: how a prompt and its answer are laid out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli.command import Session, command

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fim.data import TokenizerView
    from fim.formats import FormatDescription
    from fim.types import Vocabulary

ROW_TOKENS = 4096


def _format_names(incomplete: str) -> list[str]:
    """Complete the name of a format."""
    from fim.formats import format_names

    return [name for name in format_names() if name.startswith(incomplete)]


NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="Name of a format.", autocompletion=_format_names),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="M",
        help="Ask this model's tokenizer: a hub name or a folder with a tokenizer.",
        show_default=False,
    ),
]
AnchorOption = Annotated[
    int,
    typer.Option("--anchor-lines", metavar="N", min=0, help="Lines that stand last in the prompt."),
]


def register(app: typer.Typer) -> None:
    """Add ``fim formats`` and its commands."""
    group = typer.Typer(no_args_is_help=True, help="List and explain the prompt formats.")
    app.add_typer(group, name="formats")
    examples = ("fim formats list", "fim formats list --model ./my-model --json")
    command(group, "list", examples=examples)(list_formats)
    examples = (
        "fim formats show chatml",
        "fim formats show psm --anchor-lines 4 --model ./my-model",
    )
    command(group, "show", examples=examples)(show)


def list_formats(session: Session, model: ModelOption = None) -> None:
    """List the formats, and with a model whether its tokenizer can speak them."""
    from fim.formats import format_summaries

    summaries = format_summaries()
    vocabulary = None if model is None else _vocabulary(session, model)
    speaks = {each.name: _try_family(each.name, vocabulary) for each in summaries}
    if session.output.is_json:
        answer = [
            each.as_json() | ({} if vocabulary is None else {"speaks_as": speaks[each.name]})
            for each in summaries
        ]
        session.output.write_json({"formats": answer})
        return
    columns = ["name", "version", "order", "families", "summary"]
    rows = [
        [each.name, str(each.version), each.order, ", ".join(each.families), each.summary]
        for each in summaries
    ]
    if vocabulary is not None:
        columns.append("this model")
        rows = [[*row, speaks[row[0]] or "no"] for row in rows]
    session.output.table(columns, rows, is_answer=True)


def show(
    session: Session, name: NameArgument, anchor_lines: AnchorOption = 0, model: ModelOption = None
) -> None:
    """Show the layout of a format by a worked example, with its tokens, ids and stops."""
    from fim.formats import describe_format

    described = describe_format(name, anchor_lines=anchor_lines)
    rows = {}
    if model is not None:
        row = _row(session, name, anchor_lines, model)
        described = tuple(each for each in described if each.family == row["family"])
        rows[str(row.pop("family"))] = row
    if session.output.is_json:
        first = described[0]
        answer = {"name": first.name, "version": first.version, "order": first.order}
        families = [each.as_json() | rows.get(each.family, {}) for each in described]
        session.output.write_json(answer | {"families": families})
        return
    for each in described:
        _show_one(session, each, rows.get(each.family))


def _row(session: Session, name: str, anchor_lines: int, model: str) -> dict[str, object]:
    """Return the worked example's ids and labels with a model's tokenizer, and its family."""
    from fim.data import ExampleEncoder
    from fim.formats import WORKED_EXAMPLE, resolve_format

    view = _vocabulary(session, model)
    resolved = resolve_format(name, view, anchor_lines=anchor_lines)
    row = ExampleEncoder(resolved, view, max_seq_length=ROW_TOKENS).encode(WORKED_EXAMPLE)
    return {
        "family": resolved.format.family,
        "token_ids": dict(resolved.token_ids),
        "stop_ids": list(resolved.stop_ids),
        "input_ids": list(row.input_ids),
        "labels": list(row.labels),
    }


def _show_one(
    session: Session, described: FormatDescription, row: Mapping[str, object] | None
) -> None:
    from fim.cli.segments import ShownSegment, show_segments

    console = session.output.console(is_answer=True)
    console.print(f"{described.name}@{described.version}  family {described.family}", style="bold")
    known = row["token_ids"] if row is not None else described.token_ids
    ids: Mapping[str, int | None] = known if isinstance(known, dict) else described.token_ids
    tokens = ", ".join(
        f"{token} {'any id' if token_id is None else token_id}" for token, token_id in ids.items()
    )
    for title, text in (
        ("layout", described.layout),
        ("tokens", tokens),
        ("end", described.end_token),
        ("stops", ", ".join(described.stop_tokens)),
    ):
        console.print(f"{title:7} {text}", soft_wrap=True, markup=False)
    console.print("worked example (# is trained):")
    shown = (ShownSegment(each.kind, each.text, each.trained) for each in described.segments)
    show_segments(console, shown)
    if row is not None:
        console.print(f"ids     {row['input_ids']}", soft_wrap=True, markup=False)
    console.print()


def _vocabulary(session: Session, model: str) -> TokenizerView:
    from fim.cli.tokenizing import load_view

    return load_view(session.resolve({"model.name": model}).settings)


def _try_family(name: str, vocabulary: Vocabulary | None) -> str | None:
    from fim.errors import FormatUnsupportedError
    from fim.formats import resolve_format

    if vocabulary is None:
        return None
    try:
        return resolve_format(name, vocabulary).format.family
    except FormatUnsupportedError:
        return None
