"""``fim data build`` and ``fim data check``: repositories to a data set that does not leak."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli.command import Session, command
from fim.errors import LeakageError

if TYPE_CHECKING:
    from fim.config import Settings
    from fim.corpus import BuiltCorpus, CorpusCheck, FileExplanation

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
IncludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        metavar="PATTERN",
        help="Take only these files, in the syntax of .gitignore. May be repeated.",
        show_default=False,
    ),
]
CommitOption = Annotated[
    str | None,
    typer.Option(
        "--commit", metavar="REV", help="Read this commit in place of HEAD.", show_default=False
    ),
]
FromCommitsOption = Annotated[
    int | None,
    typer.Option(
        "--from-commits",
        metavar="N",
        min=1,
        help="Cut holes only into lines of the last N commits; context is as they found it.",
        show_default=False,
    ),
]
SideOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        metavar="HOW",
        help="What decides the side of a file: group, repo, path-prefix or time.",
        show_default=False,
    ),
]
HeldOutPathOption = Annotated[
    list[str] | None,
    typer.Option(
        "--held-out-path",
        metavar="PATH",
        help="With --split path-prefix: hold out what lies below. May be repeated.",
        show_default=False,
    ),
]
HeldOutRepoOption = Annotated[
    list[str] | None,
    typer.Option(
        "--held-out-repo",
        metavar="NAME",
        help="With --split repo: hold this root out, by folder name. May be repeated.",
        show_default=False,
    ),
]
SplitCommitOption = Annotated[
    str | None,
    typer.Option(
        "--split-commit",
        metavar="REV",
        help="With --split time: hold out lines that were added after this commit.",
        show_default=False,
    ),
]
ExplainOption = Annotated[
    Path | None,
    typer.Option(
        "--explain",
        metavar="FILE",
        help="Say why this file is used or dropped, and write nothing.",
        show_default=False,
    ),
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be built, and write nothing.")
]
MaxLeaksOption = Annotated[
    int | None,
    typer.Option(
        "--max-leaks",
        metavar="N",
        min=0,
        help="Findings of each kind to let pass, in place of corpus.max_leaks.",
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
SetArgument = Annotated[
    Path, typer.Argument(metavar="DATA", help="A built set, or any data file or folder.")
]


def register(group: typer.Typer) -> None:
    """Add ``build`` and ``check`` to the ``fim data`` group."""
    command(
        group,
        "build",
        examples=(
            "fim data build ~/code/app ~/code/lib --out data",
            "fim data build . --out data --exclude 'tests/' --set corpus.holes_per_file=16",
            "fim data build . --out data --split time --split-commit v2.0",
            "fim data build . --out data --dry-run",
            "fim data build . --explain src/app/main.py",
        ),
    )(build)
    command(group, "check", examples=("fim data check data", "fim data check data --json"))(check)


def build(  # noqa: PLR0913, PLR0917
    session: Session,
    paths: PathsArgument,
    out: OutOption = Path("data"),
    include: IncludeOption = None,
    exclude: ExcludeOption = None,
    commit: CommitOption = None,
    from_commits: FromCommitsOption = None,
    split: SideOption = None,
    held_out_path: HeldOutPathOption = None,
    held_out_repo: HeldOutRepoOption = None,
    split_commit: SplitCommitOption = None,
    max_train: MaxTrainOption = None,
    max_held_out: MaxHeldOutOption = None,
    explain: ExplainOption = None,
    is_dry_run: DryRunOption = False,
) -> None:
    """Turn repositories into fill-in-the-middle examples, split by file so that nothing leaks."""
    from fim.config import cache_folder
    from fim.corpus import build_corpus, explain_file, rehearse_corpus

    overrides = {
        "corpus.split": split,
        "corpus.held_out_paths": ",".join(held_out_path) if held_out_path else None,
        "corpus.held_out_repos": ",".join(held_out_repo) if held_out_repo else None,
        "corpus.split_commit": split_commit,
        "corpus.from_commits": from_commits,
    }
    settings = session.resolve(overrides).settings.corpus
    cache = cache_folder() / "corpus" if settings.use_cache else None
    patterns = {"include": tuple(include or ()), "exclude": tuple(exclude or ())}
    if explain is not None:
        explanation = explain_file(
            paths,
            explain,
            settings=settings,
            revision=commit,
            cache=cache,
            progress=session.progress,
            **patterns,
        )
        _tell_explanation(session, explanation)
        return
    started = time.monotonic()
    make = rehearse_corpus if is_dry_run else build_corpus
    built = make(
        paths,
        settings=settings,
        out=out,
        revision=commit,
        max_train_holes=max_train,
        max_held_out_holes=max_held_out,
        cache=cache,
        progress=session.progress,
        **patterns,
    )
    answer = build_answer(built, seconds=time.monotonic() - started) | {"dry_run": is_dry_run}
    _tell(session, built, answer)


def check(session: Session, data: SetArgument, max_leaks: MaxLeaksOption = None) -> None:
    """Prove again that nothing held out stands in the training text; exit code 3 when it does."""
    from fim.corpus import MANIFEST_FILE, check_corpus

    settings = session.resolve({"corpus.max_leaks": max_leaks}).settings
    is_built = (data / MANIFEST_FILE).is_file()
    limit = settings.corpus.max_leaks
    result = check_corpus(data, limit=limit) if is_built else _check_sides(data, settings, limit)
    if session.output.is_json:
        session.output.write_json(result.as_json())
        if not result.is_clean:
            raise typer.Exit(LeakageError.exit_code)
        return
    rows = [(kind.replace("_", " "), str(number)) for kind, number in result.leaks.items()]
    session.output.table(("looked for", ">found"), rows, is_answer=True)
    looked_at = [(name.replace("_", " "), str(value)) for name, value in result.facts.items()]
    session.output.table(("looked at", ">"), looked_at)
    if not result.is_clean:
        raise LeakageError(
            f"{data} leaks: {sum(result.leaks.values())} findings, more than {result.limit} of a "
            f"kind, the first is {dict(result.examples[0])}; scores on its held-out side cannot "
            "be trusted",
            hint="build it again: fim data build PATH... --out DIR"
            if is_built
            else f"give the rows of a file one side in the column split of {data}",
            context=result.as_json(),
        )


def _check_sides(data: Path, settings: Settings, limit: int) -> CorpusCheck:
    """Check the sides that training would take of a data file or a folder."""
    from dataclasses import replace

    from fim.corpus import check_rows
    from fim.corpus.hashing import normalised_hash
    from fim.data import divide, load_sides

    division = divide(load_sides(data, settings=settings.data), settings=settings.data)
    sides = {"train": division.train.examples, "held_out": division.held_out.examples}
    named = {
        side: [
            replace(
                row,
                document_id=row.document_id
                or normalised_hash(row.prefix + row.middle + row.suffix),
            )
            for row in rows
        ]
        for side, rows in sides.items()
    }
    return check_rows(named, limit=limit)


def build_answer(built: BuiltCorpus, *, seconds: float) -> dict[str, object]:
    """Return what ``fim data build --json`` prints."""
    num_bytes = built.manifest["bytes_used"]
    megabytes = num_bytes / _BYTES_PER_MB if isinstance(num_bytes, int) else 0.0
    return {
        "out": str(built.out),
        "files": built.manifest["files"],
        "holes": built.manifest["holes"],
        "content": built.manifest["content"],
        "endings_left_out": built.manifest["endings_left_out"],
        "examples": num_examples(built),
        "notices": [notice.as_json() for notice in built.notices],
        "known_from_cache": dict(built.num_known),
        "seconds": round(seconds, 3),
        "mb_per_second": round(megabytes / seconds, 3) if seconds > 0 else None,
        "peak_memory_mib": peak_memory_mib(),
    }


def num_examples(built: BuiltCorpus) -> dict[str, int]:
    """Return the rows of each side."""
    splits = built.manifest["splits"]
    sides = splits.items() if isinstance(splits, Mapping) else ()
    return {str(split): int(facts["examples"]) for split, facts in sides}


def peak_memory_mib() -> float | None:
    """Return the most memory that this process or one that it started held (MiB), or None."""
    if sys.platform == "win32":
        return None
    import resource

    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(kind).ru_maxrss for kind in kinds)
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return round(peak * unit_bytes / _BYTES_PER_MIB, 1)


def _tell_explanation(session: Session, explanation: FileExplanation) -> None:
    from fim.corpus.reasons import hint_for

    if session.output.is_json:
        session.output.write_json(explanation.as_json())
        return
    rows = [(name.replace("_", " "), str(value)) for name, value in explanation.as_json().items()]
    session.output.table(("", ""), rows, is_answer=True)
    hint = hint_for(explanation.reason)
    if hint:
        session.output.hint(hint)


def _tell(session: Session, built: BuiltCorpus, answer: Mapping[str, object]) -> None:
    output = session.output
    if output.is_json:
        output.write_json(answer)
        return
    rows = [
        *_counts(built, "files"),
        *_notes(built),
        *_counts(built, "holes"),
        *_redacted(built),
    ]
    rows += [
        (f"{split.replace('_', '-')} examples", f"{number:,}")
        for split, number in num_examples(built).items()
    ]
    is_dry_run = bool(answer["dry_run"])
    title = "dry run: nothing was written" if is_dry_run else ""
    output.table((title, ">count"), rows, is_answer=is_dry_run)
    output.say(f"{answer['seconds']} s, {answer['mb_per_second']} MB/s of source text")
    if not all(num_examples(built).values()):
        output.warn(
            "one side is empty: with so few files that are not alike there is nothing to measure "
            "on; give more files or repositories"
        )
    for notice in built.notices:
        tell = output.warn if notice.hint else output.say
        tell(notice.message)
        if notice.hint:
            output.hint(notice.hint)
    if is_dry_run:
        return
    output.hint(f"fim data check {shlex.quote(str(built.out))}")
    output.hint(f"fim train --data {shlex.quote(str(built.out))}")
    output.write_text(f"{built.out}\n")


def _notes(built: BuiltCorpus) -> list[tuple[str, str]]:
    """Return what was done to files that are used: read from another encoding, cut by lines."""
    content = built.manifest["content"]
    if not isinstance(content, Mapping):
        return []
    named = {f"transcoded: {name}": number for name, number in content["transcoded"].items()}
    named |= {name.replace("_", " "): content[name] for name in ("cr_line_ends", "parsed_in_part")}
    return [(f"  {name}", f"{number:,}") for name, number in named.items() if number]


def _redacted(built: BuiltCorpus) -> list[tuple[str, str]]:
    content = built.manifest["content"]
    counts = content if isinstance(content, Mapping) else {}
    kinds = (counts.get(f"redacted_{name}", {}) for name in ("secrets", "characters"))
    num_secrets, num_characters = (sum(kind.values()) for kind in kinds)
    if not num_secrets:
        return []
    return [
        ("secrets replaced", f"{num_secrets:,}"),
        ("  their characters", f"{num_characters:,}"),
    ]


def _counts(built: BuiltCorpus, part: str) -> list[tuple[str, str]]:
    report = built.manifest[part]
    if not isinstance(report, Mapping):
        return []
    dropped = report["dropped"]
    reasons = dropped.items() if isinstance(dropped, Mapping) else ()
    named = [(f"  dropped: {str(reason).replace('_', ' ')}", number) for reason, number in reasons]
    counts = [(f"{part} seen", report["seen"]), *named, (f"{part} used", report["used"])]
    return [(name, f"{number:,}") for name, number in counts]
