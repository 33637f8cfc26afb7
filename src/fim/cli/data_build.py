"""``fim data build`` and ``fim data check``: repositories to a data set that does not leak."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli.command import Session, command
from fim.errors import LeakageError

if TYPE_CHECKING:
    from fim.corpus import BuiltCorpus

_BYTES_PER_MIB = 2**20
_BYTES_PER_MB = 10**6

PathsArgument = Annotated[
    list[Path],
    typer.Argument(metavar="PATH...", help="Folders, git repositories (read at HEAD) or files."),
]
OutOption = Annotated[
    Path,
    typer.Option("--out", metavar="DIR", help="Folder to write; a built set there is replaced."),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        metavar="PATTERN",
        help="Leave files out, in the syntax of .gitignore. May be repeated; .fimignore works too.",
        show_default=False,
    ),
]
MaxTrainOption = Annotated[
    int | None,
    typer.Option("--max-train", metavar="N", min=1, help="Keep at most N training holes."),
]
MaxHeldOutOption = Annotated[
    int | None,
    typer.Option("--max-held-out", metavar="N", min=1, help="Keep at most N held-out holes."),
]
SetArgument = Annotated[Path, typer.Argument(metavar="DATA", help="Folder of a built set.")]


def register(group: typer.Typer) -> None:
    """Add ``build`` and ``check`` to the ``fim data`` group."""
    command(
        group,
        "build",
        examples=(
            "fim data build ~/code/app ~/code/lib --out data",
            "fim data build . --out data --exclude 'tests/' --set corpus.holes_per_file=16",
        ),
    )(build)
    command(group, "check", examples=("fim data check data", "fim data check data --json"))(check)


def build(
    session: Session,
    paths: PathsArgument,
    out: OutOption,
    exclude: ExcludeOption = None,
    max_train: MaxTrainOption = None,
    max_held_out: MaxHeldOutOption = None,
) -> None:
    """Turn repositories into fill-in-the-middle examples, split by file so that nothing leaks."""
    from fim.corpus import build_corpus

    settings = session.resolve().settings.corpus
    started = time.monotonic()
    built = build_corpus(
        paths,
        settings=settings,
        out=out,
        exclude=tuple(exclude or ()),
        max_train_holes=max_train,
        max_held_out_holes=max_held_out,
        progress=session.progress,
    )
    answer = build_answer(built, seconds=time.monotonic() - started)
    if session.output.is_json:
        session.output.write_json(answer)
        return
    _tell(session, built, answer)


def check(session: Session, data: SetArgument) -> None:
    """Prove again that nothing held out stands in the training text; exit code 3 when it does."""
    from fim.corpus import check_corpus

    result = check_corpus(data)
    if session.output.is_json:
        session.output.write_json(result.as_json())
        if not result.is_clean:
            raise typer.Exit(LeakageError.exit_code)
        return
    rows = [(kind.replace("_", " "), str(number)) for kind, number in result.leaks.items()]
    session.output.table(("looked for", ">found"), rows, is_answer=True)
    if not result.is_clean:
        raise LeakageError(
            f"{data} leaks: {sum(result.leaks.values())} findings, the first is "
            f"{dict(result.examples[0])}; scores on its held-out side cannot be trusted",
            hint="build it again: fim data build PATH... --out DIR",
            context=result.as_json(),
        )


def build_answer(built: BuiltCorpus, *, seconds: float) -> dict[str, object]:
    """Return what ``fim data build --json`` prints."""
    num_bytes = built.manifest["bytes_used"]
    megabytes = num_bytes / _BYTES_PER_MB if isinstance(num_bytes, int) else 0.0
    return {
        "out": str(built.out),
        "files": built.manifest["files"],
        "holes": built.manifest["holes"],
        "examples": {"train": len(built.train), "held_out": len(built.held_out)},
        "seconds": round(seconds, 3),
        "mb_per_second": round(megabytes / seconds, 3) if seconds > 0 else None,
        "peak_memory_mib": peak_memory_mib(),
    }


def peak_memory_mib() -> float | None:
    """Return the most memory that this process has held (MiB); None where it cannot be known."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return round(peak * unit_bytes / _BYTES_PER_MIB, 1)


def _tell(session: Session, built: BuiltCorpus, answer: Mapping[str, object]) -> None:
    output = session.output
    rows = [(f"{name} files", f"{number:,}") for name, number in _counts(built, "files")]
    rows += [(f"{name} holes", f"{number:,}") for name, number in _counts(built, "holes")]
    rows += [("train examples", f"{len(built.train):,}")]
    rows += [("held-out examples", f"{len(built.held_out):,}")]
    output.table(("", ">count"), rows)
    output.say(f"{answer['seconds']} s, {answer['mb_per_second']} MB/s of source text")
    output.hint(f"fim data check {built.out}")
    output.hint(f"fim train --data {built.out}")
    output.write_text(f"{built.out}\n")


def _counts(built: BuiltCorpus, part: str) -> list[tuple[str, int]]:
    report = built.manifest[part]
    if not isinstance(report, Mapping):
        return []
    dropped = report["dropped"]
    reasons = dropped.items() if isinstance(dropped, Mapping) else ()
    named = [(f"  dropped, {str(reason).replace('_', ' ')}", number) for reason, number in reasons]
    return [("seen", report["seen"]), *named, ("used", report["used"])]
