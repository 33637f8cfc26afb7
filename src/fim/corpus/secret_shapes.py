"""Find secrets by their surroundings: key blocks, passwords in addresses, signed links."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fim.corpus.secret_values import is_dummy, is_random, is_short_secret

if TYPE_CHECKING:
    from collections.abc import Iterator

PRIVATE_KEY = "private_key"
PUTTY_KEY = "putty_key"
_MAX_KEY_CHARS = 40_000
_MIN_KEY_CHARS = 40
_ALIGNED = ("MII", "MHc", "MHQ", "MIG", "MC4", "MC8", "b3BlbnNzaC1rZXkt")
_BEGINS = re.compile(r"-{4,5} ?BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_ENDS = re.compile(r"-{4,5} ?END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)? ?-{4,5}")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_PRIVATE_LINES = re.compile(r"Private-Lines: ?(\d{1,3})\b")
_KEY_PIECE = re.compile(
    r"(?P<gap>(?:\\[nrt]|[\s\"'`\\#*;,.&()\[\]>|_]|//|--?(?=\s)|\+(?=\s|[\"'`]|\Z))+)"
    r"|(?P<header>(?:Proc-Type|DEK-Info|Version|Comment|Hash|Charset|MessageID|Subject|x-\w+):"
    r"(?:(?!\\n)[^\n\"'`])*)"
    r"|(?P<data>=?[A-Za-z0-9+/]+={0,2})"
)


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret in a text.

    Args:
        kind: Its kind.
        pieces: Its own characters, from and to; more than one for a key over several lines.
        is_open: Its end is not found, so that it cannot be taken out.
    """

    kind: str
    pieces: tuple[tuple[int, int], ...]
    is_open: bool = False

    @property
    def start(self) -> int:
        """Where it starts (characters)."""
        return self.pieces[0][0]

    @property
    def end(self) -> int:
        """Where it ends (characters)."""
        return self.pieces[-1][1]


@dataclass(frozen=True, slots=True)
class _Shape:
    kind: str
    literals: tuple[str, ...]
    pattern: re.Pattern[str]


def _shape(kind: str, literals: str, pattern: str) -> _Shape:
    return _Shape(kind, tuple(literals.split()), re.compile(pattern))


_SHAPES = (
    _shape(
        "slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/\w+/T\w+/(?:\w+/)*(?P<part>\w{20,})"
    ),
    _shape(
        "chat_webhook",
        "webhook googleapis",
        r"(?:/api/webhooks/\d{15,}/(?P<part>[\w-]{40,})"
        r"|webhook\.office\.com/webhookb2/(?P<office>[\w@/-]{80,})"
        r"|chat\.googleapis\.com/v1/spaces/[\w?=/&-]{1,120}?token=(?P<chat>[\w%-]{30,}))",
    ),
    _shape(
        "azure_account_key",
        "Key=",
        r"(?:Account|Access)Key=(?P<part>[A-Za-z0-9+/]{40,}={0,2})",
    ),
    _shape("azure_signature", "sig=", r"[?&]sig=(?P<part>[A-Za-z0-9%+/_-]{40,}(?:%3[dD]|=)?)"),
    _shape(
        "connection_password",
        "assword= WD= wd=",
        r"(?i)(?:server|data source|host|user id|uid|jdbc:)[^\n]{0,200}?;\s*(?:password|pwd)="
        r"(?P<short>[^;\s\"'{}<>$]{6,})",
    ),
    _shape(
        "json_web_token",
        "eyJ",
        r"(?<![A-Za-z0-9])eyJ[\w-]{8,2000}\.eyJ[\w-]{8,8000}\.[\w-]{8,}",
    ),
    _shape("telegram_token", ":A", r":(?<=\d{8}:)(?P<part>A[A-Za-z0-9_-]{34})(?![A-Za-z0-9_-])"),
    _shape(
        "password_in_address",
        "://",
        r"://(?<=[0-9A-Za-z]://)(?<!ssh://)(?:[^\s:/@\"'<>{}$`\\]{0,200}:"
        r"(?P<short>(?:[^\s/@,\"'<>{}$%`\\]|%[0-9A-Fa-f]{2}){6,})"
        r"|(?P<value>[\w~.-]{16,}))@[\w.\[-]",
    ),
    _shape(
        "password_in_command",
        "curl",
        r"\s(?:-u|--user)[ =]?[\"']?[\w.@+-]{0,80}:(?P<short>[^\s\"'{}<>$`\\]{8,})",
    ),
)
_JUDGES = {"short": is_short_secret, "value": is_random}
SHAPED_KINDS = frozenset({PRIVATE_KEY, PUTTY_KEY, *(shape.kind for shape in _SHAPES)})


def find_shaped(text: str) -> Iterator[Finding]:
    """Yield the secrets that their surroundings tell."""
    if "PRIVATE KEY" in text:
        yield from _private_keys(text)
    if "Private-Lines:" in text:
        yield from _putty_keys(text)
    for shape in _SHAPES:
        if any(literal in text for literal in shape.literals):
            for match in shape.pattern.finditer(text):
                name = match.lastgroup or 0
                value = _ESCAPE.sub("", match[name])
                is_secret = _JUDGES.get(match.lastgroup or "")
                if is_secret(value) if is_secret else not is_dummy(value):
                    yield Finding(shape.kind, (match.span(name),))


def _private_keys(text: str) -> Iterator[Finding]:
    for begin in _BEGINS.finditer(text):
        data, stop = _key_data(text, begin.end())
        if _is_key(text, data):
            end = _ENDS.match(text, stop)
            ends = (end.span(),) if end else ()
            yield Finding(PRIVATE_KEY, (begin.span(), *data, *ends), is_open=end is None)


def _putty_keys(text: str) -> Iterator[Finding]:
    for begin in _PRIVATE_LINES.finditer(text):
        data, _ = _key_data(text, begin.end())
        data = data[: int(begin[1])]
        if _is_key(text, data):
            yield Finding(PUTTY_KEY, tuple(data))


def _key_data(text: str, start: int) -> tuple[list[tuple[int, int]], int]:
    """Return the runs of base64 from a place on, without marks between, and where they end."""
    data = []
    position = start
    while position < start + _MAX_KEY_CHARS and (match := _KEY_PIECE.match(text, position)):
        position = match.end()
        if match.lastgroup == "data":
            data.append(match.span())
    return data, position


def _is_key(text: str, data: list[tuple[int, int]]) -> bool:
    """Tell whether runs of base64 are a key: they start as keys do, or are long and random."""
    if not data:
        return False
    first = text[slice(*data[0])]
    return first.startswith(_ALIGNED) or (len(first) >= _MIN_KEY_CHARS and is_random(first))
