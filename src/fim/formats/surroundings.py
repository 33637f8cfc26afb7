"""Where other files, the path and the repository stand in a sentinel format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from fim.formats.base import UNKNOWN_PATH, control, scaffold
from fim.formats.families import ContextStyle, SentinelTokens
from fim.types import ContextItem, FimExample, Segment, SegmentKind


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What stands around a hole.

    Args:
        before: Segments in front of the hole's first sentinel.
        inside: Segments right in front of the text of the prefix.
    """

    before: tuple[Segment, ...] = ()
    inside: tuple[Segment, ...] = ()


def surround(
    tokens: SentinelTokens, example: FimExample, *, is_always_headed: bool = False
) -> Surroundings:
    """Show an example's context items in the way of a family.

    Args:
        tokens: Tokens of the family.
        example: The hole with its context, path and repository.
        is_always_headed: Name the repository and the file even where there is no context.

    Returns:
        Nothing for a hole without context (unless it is always headed) and for a family that has
        no way to show other files.
    """
    if not example.context and not is_always_headed:
        return Surroundings()
    match tokens.context:
        case ContextStyle.SEPARATED:
            return Surroundings(before=tuple(_separated(tokens, example, is_always_headed)))
        case ContextStyle.PATH_IN_HOLE:
            before = tuple(_path_in_hole(tokens, example, is_always_headed))
            return Surroundings(before=before, inside=(scaffold(_path_line(example)),))
        case ContextStyle.JOINED:
            return Surroundings(before=tuple(_joined(tokens, example)))
        case ContextStyle.HASH_HEADER:
            return Surroundings(before=tuple(_headed(example, "#", "")))
        case ContextStyle.PLUS_HEADER:
            return Surroundings(inside=tuple(_headed(example, "+++++ ", "\n")))
        case ContextStyle.NONE:
            return Surroundings()


def file_block(item: ContextItem) -> str:
    """Return a context item as its path and its text, ending in a newline."""
    text = item.text if item.text.endswith("\n") else f"{item.text}\n"
    return f"{item.path or UNKNOWN_PATH}\n{text}"


def _separated(
    tokens: SentinelTokens, example: FimExample, is_always_headed: bool
) -> Iterator[Segment]:
    separator = _require(tokens.file_separator)
    if is_always_headed:
        yield control(_require(tokens.repo_name))
        yield scaffold(f"{example.repo or UNKNOWN_PATH}\n")
    for item in example.context:
        yield control(separator)
        yield Segment(SegmentKind.CONTEXT, file_block(item))
    yield control(separator)
    yield scaffold(_path_line(example))


def _path_in_hole(
    tokens: SentinelTokens, example: FimExample, is_always_headed: bool
) -> Iterator[Segment]:
    separator = _require(tokens.file_separator)
    if is_always_headed or example.repo:
        yield control(_require(tokens.repo_name))
        yield scaffold(example.repo or UNKNOWN_PATH)
    for item in example.context:
        yield control(separator)
        yield Segment(SegmentKind.CONTEXT, file_block(item))
    yield control(separator)


def _joined(tokens: SentinelTokens, example: FimExample) -> Iterator[Segment]:
    for item in example.context:
        yield Segment(SegmentKind.CONTEXT, file_block(item))
        yield control(_require(tokens.file_separator))
    yield scaffold(_path_line(example))


def _headed(example: FimExample, header: str, ending: str) -> Iterator[Segment]:
    for item in example.context:
        yield Segment(SegmentKind.CONTEXT, f"{header}{file_block(item)}{ending}")
    yield scaffold(f"{header}{_path_line(example)}")


def _path_line(example: FimExample) -> str:
    return f"{example.path or UNKNOWN_PATH}\n"


def _require(token: str | None) -> str:
    if token is None:
        raise ValueError("the family has no token for this context style")
    return token
