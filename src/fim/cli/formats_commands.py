"""``fim formats``: how a prompt and its answer are laid out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli.command import Session, command

if TYPE_CHECKING:
    from fim.formats import FormatDescription
    from fim.types import Vocabulary


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
    examples = ("fim formats show chatml", "fim formats show psm --anchor-lines 4")
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
    from fim.formats import describe_format, resolve_format

    described = describe_format(name, anchor_lines=anchor_lines)
    if model is not None:
        vocabulary = _vocabulary(session, model)
        family = resolve_format(name, vocabulary, anchor_lines=anchor_lines).format.family
        described = tuple(each for each in described if each.family == family)
    if session.output.is_json:
        first = described[0]
        answer = {"name": first.name, "version": first.version, "order": first.order}
        session.output.write_json(answer | {"families": [each.as_json() for each in described]})
        return
    for each in described:
        _show_one(session, each)


def _show_one(session: Session, described: FormatDescription) -> None:
    from fim.cli.segments import ShownSegment, show_segments

    console = session.output.console(is_answer=True)
    console.print(f"{described.name}@{described.version}  family {described.family}", style="bold")
    tokens = ", ".join(f"{token} {token_id}" for token, token_id in described.token_ids.items())
    console.print(f"tokens  {tokens}", soft_wrap=True)
    console.print(f"end     {described.end_token}")
    console.print(f"stops   {', '.join(described.stop_tokens)}", soft_wrap=True)
    console.print("worked example (# is trained):")
    shown = (ShownSegment(each.kind, each.text, each.trained) for each in described.segments)
    show_segments(console, shown)
    console.print()


def _vocabulary(session: Session, model: str) -> Vocabulary:
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
