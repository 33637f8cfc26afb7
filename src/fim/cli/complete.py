"""``fim complete``: the text for a hole, byte for byte, and nothing else on stdout."""

from __future__ import annotations

import codecs
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli.command import Session, command
from fim.errors import ConfigError, SourceNotFoundError
from fim.types import FimExample

if TYPE_CHECKING:
    from fim.inference import CodeCompleter, CompletionStream

STDIN = "-"

PrefixOption = Annotated[
    str | None,
    typer.Option("--prefix", metavar="TEXT", help="Text before the cursor; - reads it from stdin."),
]
SuffixOption = Annotated[
    str | None,
    typer.Option("--suffix", metavar="TEXT", help="Text after the cursor; - reads it from stdin."),
]
PrefixFileOption = Annotated[
    Path | None,
    typer.Option("--prefix-file", metavar="FILE", help="File with the text before the cursor."),
]
SuffixFileOption = Annotated[
    Path | None,
    typer.Option("--suffix-file", metavar="FILE", help="File with the text after the cursor."),
]
FileOption = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Source file to complete in.")
]
LineOption = Annotated[
    int | None, typer.Option("--line", metavar="N", min=1, help="Line of the cursor, from 1.")
]
ColumnOption = Annotated[
    int | None,
    typer.Option(
        "--column", metavar="N", min=1, help="Column of the cursor in characters, from 1."
    ),
]
LanguageOption = Annotated[
    str | None,
    typer.Option(
        "--language",
        metavar="NAME",
        help="Programming language, such as Python; that of --file without it.",
    ),
]
AdapterOption = Annotated[
    Path | None,
    typer.Option(
        "--adapter", metavar="DIR", help="Adapter folder; the newest finished run without it."
    ),
]
ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model", metavar="NAME", help="Base model; without --adapter it answers untuned."
    ),
]
StreamOption = Annotated[
    bool | None, typer.Option("--stream/--no-stream", help="Write pieces as they are generated.")
]
MaxNewTokensOption = Annotated[
    int | None,
    typer.Option("--max-new-tokens", metavar="N", min=1, help="Longest completion in tokens."),
]


def register(app: typer.Typer) -> None:
    """Add ``fim complete``."""
    command(
        app,
        "complete",
        examples=(
            "fim complete --prefix 'def mean(xs): return ' --suffix ' / len(xs)' --language Python",
            "fim complete --file app.py --line 40 --column 9 --stream",
        ),
    )(complete)


def complete(
    session: Session,
    prefix: PrefixOption = None,
    suffix: SuffixOption = None,
    prefix_file: PrefixFileOption = None,
    suffix_file: SuffixFileOption = None,
    file: FileOption = None,
    line: LineOption = None,
    column: ColumnOption = None,
    language: LanguageOption = None,
    adapter: AdapterOption = None,
    model: ModelOption = None,
    stream: StreamOption = None,
    max_new_tokens: MaxNewTokensOption = None,
) -> None:
    """Write exactly the text to insert at the cursor."""
    hole = _hole(prefix, suffix, prefix_file, suffix_file, file, line, column)
    if language is not None:
        hole = replace(hole, language=language)
    resolved = session.resolve(
        {
            "model.name": model,
            "infer.stream": stream,
            "infer.max_new_tokens": max_new_tokens,
        }
    )
    from fim.pipeline import make_completer

    completer = make_completer(
        resolved, adapter=adapter, is_base_alone=model is not None and adapter is None
    )
    pieces = ask(completer, hole)
    if resolved.settings.infer.stream and not session.output.is_json:
        for piece in pieces:
            session.output.write_text(piece)
        return
    answer = pieces.result()
    if session.output.is_json:
        session.output.write_json(
            {
                "text": answer.text,
                "tokens": len(answer.token_ids),
                "stop_reason": answer.stop_reason,
                "milliseconds": round(answer.milliseconds, 1),
            }
        )
        return
    session.output.write_text(answer.text)


def hole_in_file(file: Path, line: int, column: int) -> FimExample:
    """Return the hole at a place in a file, named as a training row of that file names it.

    Args:
        file: Source file.
        line: Line of the cursor, from 1.
        column: Column of the cursor in characters, from 1; a byte order mark is none.

    Raises:
        SourceNotFoundError: The file cannot be read as text.
        ConfigError: The file has no such line or column.
    """
    from fim.corpus.asking import read_for_prompt

    found = read_for_prompt(file)
    before, after = cut_at_cursor(found.prefix, line, column, name=str(file))
    return replace(found, prefix=before, suffix=after)


def ask(completer: CodeCompleter, hole: FimExample) -> CompletionStream:
    """Return the completion of a hole, piece by piece.

    Raises:
        PromptTooLongError: The prompt does not fit.
    """
    return completer.stream(
        hole.prefix, hole.suffix, language=hole.language, path=hole.path, repo=hole.repo
    )


def cut_at_cursor(text: str, line: int, column: int, *, name: str) -> tuple[str, str]:
    """Split a text at a cursor, both counted from 1; columns count characters.

    Raises:
        ConfigError: The text has no such line or column.
    """
    lines = text.split("\n")
    if line > len(lines):
        raise ConfigError(
            f"--line {line} is beyond {name}, which has {len(lines)} lines",
            hint=f"use --line {len(lines)} or less",
        )
    width = len(lines[line - 1].removesuffix("\r"))
    if column > width + 1:
        raise ConfigError(
            f"--column {column} is beyond line {line} of {name}, which has {width} characters",
            hint=f"use --column {width + 1} or less",
        )
    start = sum(len(text) + 1 for text in lines[: line - 1]) + column - 1
    return text[:start], text[start:]


def _hole(
    prefix: str | None,
    suffix: str | None,
    prefix_file: Path | None,
    suffix_file: Path | None,
    file: Path | None,
    line: int | None,
    column: int | None,
) -> FimExample:
    sides = (prefix, prefix_file, suffix, suffix_file)
    if file is not None:
        if any(side is not None for side in sides) or line is None or column is None:
            raise ConfigError(
                "--file needs --line and --column and no other text",
                hint="fim complete --file app.py --line 40 --column 9",
            )
        return hole_in_file(file, line, column)
    if line is not None or column is not None:
        raise ConfigError(
            "--line and --column mean a place in a file, and there is no --file",
            hint="fim complete --file app.py --line 40 --column 9",
        )
    if prefix is None and prefix_file is None:
        raise ConfigError(
            "there is nothing to complete: no --prefix, --prefix-file or --file",
            hint="fim complete --prefix 'def mean(xs): return ' --suffix ' / len(xs)'",
        )
    if prefix == STDIN and suffix == STDIN:
        raise ConfigError(
            "--prefix - and --suffix - cannot both read stdin",
            hint="give one of them with --prefix-file or --suffix-file",
        )
    before = _side("prefix", prefix, prefix_file)
    return FimExample(before, "", _side("suffix", suffix, suffix_file))


def _side(name: str, text: str | None, file: Path | None) -> str:
    if text is not None and file is not None:
        raise ConfigError(
            f"--{name} and --{name}-file are both given, so it is unclear which one counts",
            hint="leave one of them out",
        )
    if file is not None:
        return _read(file)
    return _stdin(name) if text == STDIN else text or ""


def _stdin(name: str) -> str:
    if sys.stdin is None:
        raise ConfigError(
            f"--{name} - reads stdin, which is closed, so there is no text",
            hint=f"give it with --{name}-file FILE",
        )
    return _decode(sys.stdin.buffer.read(), "stdin")


def _read(path: Path) -> str:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SourceNotFoundError(
            f"{path} cannot be read: {error.strerror or error}",
            hint="check the path",
        ) from error
    return _decode(raw, str(path))


def _decode(raw: bytes, name: str) -> str:
    try:
        return raw.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        raise SourceNotFoundError(
            f"{name} is not UTF-8 (byte {error.start}), so its text is unknown",
            hint="convert it first, for example with iconv",
        ) from error
