"""``fim export``: what leaves a run for other programs and other people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fim.cli.command import Session, command

if TYPE_CHECKING:
    from fim.exporting import HubUpload

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A run folder, its id, the start of its id, or latest.",
        show_default=False,
    ),
]
RepoOption = Annotated[
    str | None,
    typer.Option("--repo", metavar="NAME", help="Repository; without it hf.repo or the run's id."),
]
PublicOption = Annotated[
    bool, typer.Option("--public", help="Let everybody see the new repository.")
]
ReplaceOption = Annotated[
    bool, typer.Option("--replace", help="Commit into a repository that exists already.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")
]


def register(app: typer.Typer) -> None:
    """Add ``fim export hub``."""
    group = typer.Typer(no_args_is_help=True, help="Bring an adapter to other places.")
    command(
        group,
        "hub",
        examples=(
            "fim export hub latest --dry-run",
            "fim export hub latest --repo someone/my-completions",
        ),
    )(hub)
    app.add_typer(group, name="export")


def hub(
    session: Session,
    run: RunArgument,
    repo: RepoOption = None,
    is_public: PublicOption = False,
    is_replacing: ReplaceOption = False,
    is_dry_run: DryRunOption = False,
) -> None:
    """Upload a run's adapter and model card to the Hugging Face hub, privately unless told else.

    The token comes from the environment: FIM_HF_TOKEN, or HF_TOKEN.
    """
    from fim.exporting import planned_upload, push_adapter
    from fim.runs import find_run

    wanted = {"hf.private": False if is_public else None, "hf.replace": is_replacing or None}
    resolved = session.resolve(wanted)
    folder = find_run(resolved.settings.train.output_dir, run)
    if is_dry_run:
        _answer(session, planned_upload(resolved, folder, repo=repo), verb="would send")
        return
    _answer(session, push_adapter(resolved, folder, repo=repo), verb="sent")


def _answer(session: Session, upload: HubUpload, *, verb: str) -> None:
    if session.output.is_json:
        session.output.write_json(upload.as_json())
        return
    session.output.say(f"{verb} {upload.summary}")
    session.output.table(("file",), tuple((name,) for name in upload.files))
    if upload.url:
        session.output.write_text(f"{upload.url}\n")
