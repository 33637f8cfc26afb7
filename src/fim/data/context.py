"""Reading ``context_items`` in every shape that published data sets use."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fim.types import ContextItem

TEXT_KEYS = ("content", "retrieved_chunk", "text", "code")
PATH_KEYS = ("file_path", "filename", "path")
SCORE_KEYS = ("score", "similarity")
RANK_KEYS = ("rank",)
MIN_LEAKING_CHARS = 20


@dataclass(frozen=True, slots=True)
class ParsedContext:
    """Usable items, most relevant first, and how many items were seen, unusable and leaking."""

    items: tuple[ContextItem, ...] = ()
    num_seen: int = 0
    num_unusable: int = 0
    num_holding_middle: int = 0


def parse_context(value: object, *, middle: str) -> ParsedContext:
    """Read a context column and drop the items that give the middle away.

    Args:
        value: A list of structs or strings, a struct of lists, a JSON string of either, or None.
        middle: The answer; an item that holds it (20 characters or more, outer white space aside)
            is dropped and counted.
    """
    raw_items = list(_raw_items(value))
    usable = [item for item in map(_read_item, raw_items) if item is not None]
    kept = [item for item in usable if not holds_middle(item.text, middle)]
    kept.sort(key=_relevance, reverse=True)
    return ParsedContext(
        items=tuple(kept),
        num_seen=len(raw_items),
        num_unusable=len(raw_items) - len(usable),
        num_holding_middle=len(usable) - len(kept),
    )


def holds_middle(text: str, middle: str) -> bool:
    """Tell whether a text gives a middle of 20 characters or more away, outer white space aside."""
    answer = middle.strip()
    return len(answer) >= MIN_LEAKING_CHARS and answer in text


def is_clean_text(text: str) -> bool:
    """Tell whether a string can be written as UTF-8, that is holds no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _raw_items(value: object) -> Iterator[object]:
    if value is None:
        return
    if isinstance(value, str):
        yield from _raw_items_of_json(value)
    elif isinstance(value, Mapping):
        yield from _raw_items_of_struct(value)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        yield from value
    else:
        yield value


def _raw_items_of_json(text: str) -> Iterator[object]:
    if not text.strip():
        return
    try:
        parsed = json.loads(text)
    except ValueError:
        yield None
        return
    if isinstance(parsed, str):
        yield None
    else:
        yield from _raw_items(parsed)


def _raw_items_of_struct(struct: Mapping[object, object]) -> Iterator[object]:
    columns = {
        key: value
        for key, value in struct.items()
        if isinstance(value, Sequence) and not isinstance(value, str | bytes)
    }
    if not columns:
        if any(value is not None for value in struct.values()):
            yield struct
        return
    for index in range(max(len(column) for column in columns.values())):
        yield {key: column[index] for key, column in columns.items() if index < len(column)}


def _read_item(raw: object) -> ContextItem | None:
    if isinstance(raw, str):
        raw = {"text": raw}
    if not isinstance(raw, Mapping):
        return None
    text = _first(raw, TEXT_KEYS)
    if not isinstance(text, str) or not text.strip() or not is_clean_text(text):
        return None
    path = _first(raw, PATH_KEYS)
    is_path = isinstance(path, str) and bool(path) and is_clean_text(path)
    return ContextItem(text=text, path=str(path) if is_path else None, score=_score(raw))


def _first(raw: Mapping[object, object], keys: Sequence[str]) -> object:
    return next((raw[key] for key in keys if raw.get(key) is not None), None)


def _score(raw: Mapping[object, object]) -> float | None:
    score = _number(_first(raw, SCORE_KEYS))
    if score is not None:
        return score
    rank = _number(_first(raw, RANK_KEYS))
    return None if rank is None else -rank


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _relevance(item: ContextItem) -> float:
    return -math.inf if item.score is None else item.score
