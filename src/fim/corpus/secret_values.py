"""Judge a value: is it drawn at random, as keys and tokens are, or made of words."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from math import log2

MIN_CHARS = 16
_MIN_ENTROPY_SHARE = 0.6
_MIN_UNLIKE_WORDS = 0.4
_MIN_PART_CHARS = 8
_MAX_NAME_CHARS = 40
_NAME = re.compile(
    r"[Tt]oken|TOKEN|[Ss]ecret|SECRET|[Pp]assword|PASSWORD|Key(?![a-z])|[_.-](?:key|KEY)(?![A-Za-z])"
)
_DUMMY = re.compile(
    r"(?i)x{4}|\*{3}|REDACTED|EXAMPLE|PLACEHOLDER|CHANGE_?ME|DUMMY|your[_-]|_here\b|-here\b"
)
_PUBLIC = re.compile(
    r"sha\d+[-_]|//|\.{1,2}/|~/|AAAA[BCE][23]|0x[0-9A-Fa-f]{40}$"
    r"|MII[BC]IjANBg|MIGfMA0G|MFkwEwYH|MHYwEAYH|MCowBQYDK2Vw"
)
_SHORT_DUMMY = re.compile(
    r"(?i)pass|secret|example|changeme|your|dummy|test|placeholder|xxx|\*\*\*|foobar|redacted"
)
_UUID = re.compile(r"(?i)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HEX = re.compile(r"[0-9a-f]+|[0-9A-F]+")
_SEPARATORS = re.compile(r"[^0-9A-Za-z+]+")
_ALPHABETS = tuple(
    (re.compile(pattern), size)
    for pattern, size in (
        (r"[0-9]+", 10),
        (r"[0-9a-f]+|[0-9A-F]+", 16),
        (r"[2-7A-Z]+|[a-z]+", 32),
        (r"[0-9a-z]+|[0-9A-Z]+", 36),
        (r"[0-9A-Za-z]+", 62),
    )
)
_USUAL_AFTER = {
    "a": "abcdgilmnprstu",
    "b": "aeiloru",
    "c": "aceghiklorstu",
    "d": "adeilors",
    "e": "abcdefglmnprstvx",
    "f": "aefilors",
    "g": "eirs",
    "h": "aeio",
    "i": "abcdefglmnoprstvz",
    "k": "e",
    "l": "adeilostuy",
    "m": "aeiops",
    "n": "acdefginostv",
    "o": "cdglmnoprstuvw",
    "p": "aeiloprstu",
    "q": "u",
    "r": "acdeimnoprstuy",
    "s": "acehiopstuy",
    "t": "acehiloprstuy",
    "u": "beilmnprst",
    "v": "aei",
    "w": "ai",
    "y": "p",
    "z": "e",
}
_PAIRS = frozenset(first + second for first, after in _USUAL_AFTER.items() for second in after)
_DIGIT, _LOWER, _UPPER = "d", "l", "u"


def is_random(value: str) -> bool:
    """Tell whether a value of 16 characters or more looks drawn at random.

    Hash-like values count; names of hashes, dummies and paths do not. There is no upper length.

    >>> is_random("9f86d081884c7d659a2feaa0c55ad015"), is_random("your-own-password-goes-here")
    (True, False)
    """
    if len(value) < MIN_CHARS or is_dummy(value) or _PUBLIC.match(value) or value.isdigit():
        return False
    if is_uuid(value) or _HEX.fullmatch(value):
        return is_spread(value.replace("-", "")) and not value.isalpha()
    return (
        max(map(len, _SEPARATORS.split(value))) >= _MIN_PART_CHARS
        and not (len(value) < _MAX_NAME_CHARS and _NAME.search(value))
        and not _is_sequence(value)
        and is_spread(value)
        and unlike_words(value) >= _MIN_UNLIKE_WORDS
    )


def is_uuid(value: str) -> bool:
    """Tell whether a value is a UUID with its dashes."""
    return _UUID.fullmatch(value) is not None


def is_dummy(value: str) -> bool:
    """Tell whether a value says of itself that it stands for another."""
    return _DUMMY.search(value) is not None


def is_short_secret(value: str) -> bool:
    """Tell whether a password of an address is no word: digits among others, few repeats."""
    if len(value) >= MIN_CHARS:
        return is_random(value) or (_is_mixed(value) and not is_dummy(value))
    varied = _is_mixed(value) and len(set(value)) * 2 >= len(value)
    return varied and _SHORT_DUMMY.search(value) is None


def _is_mixed(value: str) -> bool:
    """Tell whether digits stand among letters or marks and the value is no run of words."""
    if not any(map(str.isdigit, value)):
        return False
    kinds = {character if not character.isalnum() else _kind(character) for character in value}
    return len(kinds) > 1 and (len(value) < MIN_CHARS or unlike_words(value) >= _MIN_UNLIKE_WORDS)


def _is_sequence(value: str) -> bool:
    """Tell whether most characters follow each other in the alphabet."""
    steps = [ord(after) - ord(before) for before, after in pairwise(value)]
    return steps.count(1) * 2 >= len(steps)


def is_spread(value: str) -> bool:
    """Tell whether the entropy per character is near the most that the value's alphabet allows."""
    count = len(value)
    entropy = -sum(n / count * log2(n / count) for n in Counter(value).values())
    size = next((size for alphabet, size in _ALPHABETS if alphabet.fullmatch(value)), 64)
    return entropy >= _MIN_ENTROPY_SHARE * min(log2(size), log2(count))


def unlike_words(value: str) -> float:
    """Return the share of neighbouring letters and digits that words would not hold, 0 to 1.

    A letter beside a digit and a rare pair of letters count whole, a capital after a small letter
    counts half. About 0.75 for random values, below 0.3 for names made of words.
    """
    odd = 0.0
    total = 0
    for first, second in pairwise(value):
        if not (first.isalnum() and second.isalnum()):
            continue
        total += 1
        before, after = _kind(first), _kind(second)
        if before == after == _DIGIT:
            continue
        if before == _LOWER and after == _UPPER:
            odd += 0.5
        elif _DIGIT in (before, after) or (first + second).lower() not in _PAIRS:
            odd += 1
    return odd / total if total else 0.0


def _kind(character: str) -> str:
    if character.isdigit():
        return _DIGIT
    return _UPPER if character.isupper() else _LOWER
