"""Find secrets in source text and take them out: tokens, key blocks, values of secret names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fim.corpus.languages import language_of
from fim.corpus.secret_names import secret_name
from fim.corpus.secret_prefixes import PREFIXED_KINDS, prefixed
from fim.corpus.secret_shapes import SHAPED_KINDS, Finding, find_shaped
from fim.corpus.secret_values import (
    MIN_CHARS,
    is_dummy,
    is_random,
    is_spread,
    is_uuid,
    unlike_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


MAX_REDACTIONS = 20
_ASSIGNED = "assigned_secret"
_COMMENTED = "commented_secret"
_BEARER = "bearer_token"
_AWS = "aws_secret_key"
_NAMED_KINDS = frozenset({_ASSIGNED, _COMMENTED, _BEARER, _AWS})
_COMMENT_MARKS = ("#", "//", "*", "--", ";", "%")
_RUN = re.compile(
    r"(?<![A-Za-z0-9_+/.~-])(?=[A-Za-z0-9_+/.~-]{16})"
    r"(?:(?=[A-Za-z_+/.~-]*+[0-9])|(?=hf_|api_org_|[A-Z]{16})|(?<=[\"'`=])(?=[a-z_+/.~-]*+[A-Z]))"
    r"[A-Za-z0-9_+/.~-]{16,}+={0,2}"
)
_MARKED = re.compile(r"([\"'`])(?<!\\[\"'`])(?P<value>[^\s\"'`\\]{16,512}+)\1")
_UNQUOTED = re.compile(r"[=:] ?(?P<value>[^\s\"'`\\]{16,512}+)(?=[\r\n]|\Z)")
_SETTING = re.compile(r"[ \t]*(?:export |ENV |ARG |set )?[A-Za-z][\w.-]{2,60}[=:] ?")
_MARKS = re.compile(r"[!@#$%^&*?|,;:(){}\[\]<>]|=[^=]")
_TEMPLATE = re.compile(r"[${%#]\{|\{\d|\{\w*\}|\$\(|%\(|\w:[/?]|<\w|\(\)|\]\[|\[\^?[\w-]+\]")
_QUOTES = tuple("\"'`")
_NOT_BEFORE = tuple("@#{$%!*^\\")
_NOT_AFTER = tuple("([{:@$%#!=")
_AFTER_PADDING = ("", *" \t\r\n;&,)]}<\\|\"'`")
_NEXT_IN_LIST = re.compile(r"[\"'`]\s*,\s*[\"'`]")
_DIGITS = re.compile(r"[0-9]")
_PARTS = re.compile(r"[^0-9A-Za-z]+")
_HEX = re.compile(r"[0-9a-f-]+|[0-9A-F-]+")
_MIN_UNLIKE_WORDS = 0.4
_MIN_BARE_UNLIKE_WORDS = 0.5
_SURE_CHARS = 32
_BARE_PART_CHARS = 8
_SECRET_FILES = re.compile(
    r"(?i)^(?:\.env(?:\..+)?|.*\.(?:pem|key|p12|pfx|jks|keystore|kdbx)|id_(?:rsa|dsa|ecdsa|ed25519).*"
    r"|credentials(?:\..*)?|secrets?\.(?:ya?ml|json|toml|ini|env)|.*\.(?:ppk|env)|\.git-credentials"
    r"|\.dockercfg|\.vault-token|service[-_]account.*\.json|\.netrc|\.pgpass|\.npmrc|\.pypirc|\.htpasswd)$"
)


@dataclass(frozen=True, slots=True)
class SecretRule:
    """A kind of secret that is looked for."""

    name: str

    @property
    def placeholder(self) -> str:
        """The text that stands for a secret of this kind."""
        return f"REDACTED_{self.name.upper()}"


SECRET_RULES: tuple[SecretRule, ...] = tuple(
    SecretRule(kind) for kind in sorted({*SHAPED_KINDS, *PREFIXED_KINDS, *_NAMED_KINDS})
)


@dataclass(frozen=True, slots=True)
class Redaction:
    """A placeholder in a text.

    Args:
        kind: The kind of secret that stood there.
        start: First character of the placeholder.
        end: End of what stands for the secret, lines and marks kept within a key included.
        num_removed: Characters of the secret that were taken out.
    """

    kind: str
    start: int
    end: int
    num_removed: int


@dataclass(frozen=True, slots=True)
class CleanText:
    """A text without secrets, and where placeholders stand in it."""

    text: str
    redactions: tuple[Redaction, ...]


def is_secret_file(path: str) -> bool:
    """Tell whether the name of a data file alone says that it holds secrets.

    A file in a programming language is judged by its text instead.

    >>> is_secret_file("deploy/.env.production"), is_secret_file("auth/credentials.py")
    (True, False)
    """
    is_named = _SECRET_FILES.match(PurePosixPath(path).name) is not None
    return is_named and language_of(path) is None


def find_secret(text: str) -> str | None:
    """Return the kind of the first secret that is found, never the secret; None without one."""
    return next((found.kind for found in find_secrets(text)), None)


def find_secrets(text: str) -> Iterator[Finding]:
    """Yield the secrets of a text: by their surroundings, by a public prefix, by a name before."""
    shaped = list(find_shaped(text))
    yield from shaped
    taken = [(found.start, found.end) for found in shaped]
    named_end = -1
    for match in _RUN.finditer(text):
        found = _in_run(text, match.start(), match.end(), named_end)
        if found is not None and not _is_taken(found, taken):
            named_end = found.end
            yield found
    for match in chain(_MARKED.finditer(text), _UNQUOTED.finditer(text)):
        value = match["value"]
        if _MARKS.search(value) and _is_password(value):
            start, end = match.span("value")
            line = text.rfind("\n", 0, start) + 1
            if match.re is _UNQUOTED and _SETTING.fullmatch(text, line, start) is None:
                continue
            found = Finding(_ASSIGNED, ((start, end),))
            if not _is_taken(found, taken) and secret_name(text, start) not in (None, "key"):
                yield found


def redact(text: str) -> CleanText | None:
    """Return a text whose secrets are placeholders of their kinds, lines and marks kept.

    A secret found once is replaced wherever it stands in the text.

    None where that is not safe: a key whose end is not found, more than 20 secrets, or a secret
    that is still found afterwards.
    """
    found = list(find_secrets(text))
    if not found:
        return CleanText(text, ())
    if len(found) <= MAX_REDACTIONS:
        found = _everywhere(text, found)
    if len(found) > MAX_REDACTIONS or any(item.is_open for item in found):
        return None
    parts: list[str] = []
    redactions: list[Redaction] = []
    position = length = 0
    for item in found:
        pieces = [(max(first, position), last) for first, last in item.pieces if last > position]
        if not pieces:
            continue
        begin = length + pieces[0][0] - position
        placeholder = SecretRule(item.kind).placeholder
        num_removed = 0
        for start, end in pieces:
            kept = text[position:start]
            parts += [kept, placeholder]
            length += len(kept) + len(placeholder)
            num_removed += end - start
            placeholder, position = "", end
        redactions.append(Redaction(item.kind, begin, length, num_removed))
    clean = "".join([*parts, text[position:]])
    return None if find_secret(clean) is not None else CleanText(clean, tuple(redactions))


def _everywhere(text: str, secrets: Sequence[Finding]) -> list[Finding]:
    """Return what is found and every other place of it, in order, the longest first."""
    found = list(secrets)
    places = {(item.start, item.end) for item in found}
    for item in secrets:
        secret = text[item.start : item.end]
        edge = "" if len(secret) >= MIN_CHARS else r"(?<!\w){}(?!\w)"
        pattern = re.compile((edge or "{}").format(re.escape(secret)))
        for match in pattern.finditer(text) if len(item.pieces) == 1 else ():
            if match.span() not in places:
                places.add(match.span())
                found.append(Finding(item.kind, (match.span(),)))
    return sorted(found, key=lambda item: (item.start, -item.end))


def _is_taken(found: Finding, taken: Sequence[tuple[int, int]]) -> bool:
    return any(found.start < end and start < found.end for start, end in taken)


def _in_run(text: str, start: int, end: int, named_end: int) -> Finding | None:
    """Return the secret of a run of letters, digits and marks of base64, if it holds one.

    A token with a public prefix is the whole run where the name before says so, too.
    """
    has_digits = _DIGITS.search(text, start, end) is not None
    token = prefixed(text, start, end if has_digits else start)
    named = None
    if token is None or token[1:] != (start, end):
        named = _named(text, start, end, named_end, has_digits=has_digits)
    if token is None or (named and named.start <= token[1] and token[2] < named.end):
        return named
    kind, first, last = token
    return Finding(kind, ((first, last),))


def _named(text: str, start: int, end: int, named_end: int, *, has_digits: bool) -> Finding | None:
    """Return a run that is the value of a secret's name, or the next in a list of such values."""
    value = text[start:end].rstrip(".")
    stop = start + len(value)
    before, after = text[start - 1 : start], text[stop : stop + 1]
    is_bare = before not in _QUOTES
    if not value or before in _NOT_BEFORE:
        return None
    if is_bare and ("." in value or not (has_digits or value.isalnum()) or _is_name(value, after)):
        return None
    words = secret_name(text, start)
    if words is None and named_end >= 0 and _NEXT_IN_LIST.fullmatch(text, named_end, start):
        words = ""
    if words is None or not is_random(value) or (is_bare and _is_like_code(value)):
        return None
    if words == "key" and (is_uuid(value) or _DIGITS.search(value) is None):
        return None
    line = text[text.rfind("\n", 0, start) + 1 : start]
    is_comment = is_bare and any(mark in line for mark in _COMMENT_MARKS)
    return Finding(_kind_of(words, is_comment=is_comment), ((start, stop),))


def _is_name(value: str, after: str) -> bool:
    """Tell whether a run without quotes is called, indexed or given a value."""
    return after in _NOT_AFTER or (value.endswith("=") and after not in _AFTER_PADDING)


def _is_like_code(value: str) -> bool:
    """Tell whether a random value without quotes is rather an expression, a constant or a path."""
    parts = len(_PARTS.split(value))
    if value.startswith("0x") or parts > len(value) // _BARE_PART_CHARS + 1:
        return True
    is_sure = len(value) >= _SURE_CHARS or value.isalnum() or _HEX.fullmatch(value) is not None
    return not is_sure and unlike_words(value) < _MIN_BARE_UNLIKE_WORDS


def _kind_of(words: str, *, is_comment: bool) -> str:
    names = words.split()
    if names[-1:] == ["bearer"]:
        return _BEARER
    if "aws" in names and "secret" in names:
        return _AWS
    return _COMMENTED if is_comment else _ASSIGNED


def _is_password(value: str) -> bool:
    """Tell whether a value with marks in it is random: no template, pattern, call or address."""
    num_plain = sum(map(str.isalnum, value))
    return (
        num_plain * 2 >= len(value)
        and any(map(str.isdigit, value))
        and not is_dummy(value)
        and _TEMPLATE.search(value) is None
        and is_spread(value)
        and unlike_words(value) >= _MIN_UNLIKE_WORDS
    )
