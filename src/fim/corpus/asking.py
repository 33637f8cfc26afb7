"""Read one file for a prompt as a build reads it for training: text, language, path, repository."""

from __future__ import annotations

from pathlib import Path

from fim.corpus.decoding import decode
from fim.corpus.disk import name_of
from fim.corpus.notices import shown
from fim.corpus.reasons import DropReason
from fim.corpus.roots import unique_name
from fim.errors import SourceNotFoundError
from fim.types import FimExample

_ADVICE = {
    DropReason.LFS_POINTER: "git lfs pull",
    DropReason.BINARY: "give a file of text",
    DropReason.WRONG_ENCODING: "correct the encoding that the file declares, or save it as UTF-8",
    DropReason.NOT_UTF8: "save it as UTF-8, or let a coding line name its encoding",
}


def read_for_prompt(file: Path) -> FimExample:
    """Return a file's whole text as a prefix, with what a training row would say about it.

    The path counts from the top of the repository that holds the file, else from the working
    folder where the file lies below it, else from the file's own folder; the repository is the name
    of that folder. Secrets stay as they are.

    Args:
        file: The file; a link counts as the file that it leads to.

    Raises:
        SourceNotFoundError: The file cannot be read, or is no text.
    """
    try:
        place = file.expanduser().resolve()
        content = place.read_bytes()
    except OSError as error:
        raise SourceNotFoundError(
            f"{file} cannot be read: {error.strerror or error}", hint="check the path"
        ) from error
    found = decode(place.name, content)
    if isinstance(found, DropReason):
        why = _why_unreadable(found, content)
        raise SourceNotFoundError(
            f"{shown(file)} {why}, so its text is unknown", hint=_ADVICE[found]
        )
    root = root_of(place)
    path = name_of(place.relative_to(root).as_posix()).encode("utf-8", "replace").decode()
    return FimExample(
        prefix=found.text,
        middle="",
        suffix="",
        language=found.language,
        path=path,
        repo=unique_name(root, ()),
    )


def root_of(file: Path) -> Path:
    """Return the folder that a file's path in a prompt counts from.

    Args:
        file: Its resolved path.
    """
    for folder in file.parents:
        if (folder / ".git").exists():
            return folder
    here = Path.cwd().resolve()
    return here if file.is_relative_to(here) else file.parent


def _why_unreadable(reason: DropReason, content: bytes) -> str:
    if reason is DropReason.LFS_POINTER:
        return "is a Git LFS pointer and not the file itself"
    if reason is DropReason.BINARY:
        return "is no text"
    if reason is DropReason.WRONG_ENCODING:
        return "is not in the encoding that it declares"
    try:
        content.decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is not UTF-8 (byte {error.start})"
    return "is not UTF-8"
