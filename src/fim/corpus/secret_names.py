"""Read what stands before a value: does a name there say that the value is a secret."""

from __future__ import annotations

import re

_REACH_CHARS = 200
_MAX_NEUTRAL_CHARS = 16
_NAMES_READ = 3
_CUT = re.compile(r"[=:,;(){}\[\]&?|<>]")
_LITERAL = re.compile(r"[({=:,]\s*([\"'`])[A-Za-z:$@-][\w .-]{0,60}\1(?:\.\w+\(\))?\Z")
_HINT = re.compile(
    r"[Pp](?:ass|w|sk)|P(?:ASS|W|SK)|[Ss](?:ecret|ess|ig)|S(?:ECRET|ESS|IG)|[Tt]oken|TOKEN|[Kk]ey|KEY"
    r"|[Aa]uth|AUTH|[Cc](?:red|ookie)|C(?:RED|OOKIE)|[Bb]earer|BEARER|[Jj]wt|JWT"
)
_PAIR = re.compile(
    r"(?:[Aa]uth|[Cc]red|[Ll]ogin)\w*\s*(?:=\s*)?[(\[]\s*[\"'][^\"'\n]*[\"']\s*,\s*[\"']\Z"
)
_ACCESSORS = ("get", "set", "init")
_OPENERS = tuple("=([{,:\\>|")
_VALUE = re.compile(r"(?i)\bvalue\W*\Z")
_IDENTIFIER = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[_-]+[A-Za-z0-9]+)*")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_STRONG = _words(
    "auth authorization bearer cookie credential credentials creds jwt oauth pass passcode "
    "passphrase passwd password passwords passwort psk pw pwd secret secrets sessid sessionid "
    "sigkey sshpass ssws token tokens xauth"
)
_JOINED = re.compile(
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|credentials?|cookie"
    r"|(?:api|access|account|admin|app|auth|client|crypto|deploy|encryption|enc|hmac|license|master"
    r"|private|priv|project|secret|service|session|shared|signing|ssh|storage|user|webhook)keys?)\Z"
    r"|^(?:passw(?:or)?d|secret|apikey)"
)
_KEY = frozenset({"key", "keys"})
_NOT_BEFORE_KEY = _words(
    "cache col column composite dedup dedupe dict event foreign group hash host idempotency "
    "index lookup map message natural object partition primary pub public query recv row shard "
    "site sort translation unique verify verifying"
)
_NEVER = _words(
    "alphabet charset characters chars checksum commit crc digest etag fingerprint hash hashes "
    "integrity keyboard keyword md pattern pub pubkey public regex regexp rev revision secretary "
    "sha shasum thumbprint tokenizer tokenizers"
)
_NEVER_LAST = _words(
    "algorithm class dir endpoint ext file filename folder format hint host id ids kind label "
    "length limit link location name names path paths placeholder policy prefix ref region size "
    "suffix title ttl type uri url urls user username uuid version"
)
_NEUTRAL = _words(
    "a an and arg as assert b basic be bool box br byte bytes c char const data dec decode def "
    "default defaults define description digest else encode env environ environment equals "
    "expected export f final for fr from get getattr getenv global header headers hex if in "
    "input is item l let literal mut my new nil none not null of ok option optional or our "
    "override param private property protected put r raw rb readonly return rf sealed self set "
    "setdefault setenv some static std str string text the this to type u unhexlify using val "
    "value values var was with your "
)


def secret_name(text: str, start: int) -> str | None:
    """Return the words of the name that makes the value at a place a secret; None without one.

    The nearest name counts, over types, brackets, calls and neutral words, on the line of the
    value and, where nothing else stands before it there, on the line before.

    >>> secret_name('String apiKey = new Key("', 25), secret_name('token, commit="', 15)
    ('key', None)
    """
    first = max(text.rfind("\n", 0, start) + 1, start - _REACH_CHARS)
    left = text[first:start]
    if _HINT.search(left) is None and len(left.strip()) > _MAX_NEUTRAL_CHARS:
        return None
    found = "auth" if _PAIR.search(left) else _nearest(left)
    if found is None and first and text[first - 1] == "\n":
        above = text[max(text.rfind("\n", 0, first - 1) + 1, first - _REACH_CHARS) : first].rstrip()
        if above.endswith(_OPENERS) or _VALUE.search(left):
            found = _nearest(above)
    return found or None


def _nearest(left: str) -> str | None:
    """Return the words of the nearest name; empty where it is no secret's, None without one."""
    end = len(left)
    crossed = ""
    for cut in (*reversed([match.start() for match in _CUT.finditer(left)]), -1):
        names = [name for name in _IDENTIFIER.findall(left, cut + 1, end) if _says_much(name)]
        mark = left[cut] if cut >= 0 else ""
        if names:
            words = _secret_words(names[-_NAMES_READ if crossed else -1 :])
            is_passed_over = (crossed == "(" and mark in "=(:,") or (
                crossed in "=<" and mark == ":"
            )
            if words is not None or not (mark and crossed and is_passed_over):
                return words or ""
        before = left[:cut].rstrip() if mark else ""
        if (mark == "," and not _LITERAL.search(before)) or (
            mark == ";" and not before.endswith(_ACCESSORS)
        ):
            return ""
        crossed, end = mark, cut
    return None


def _says_much(name: str) -> bool:
    return any(word not in _NEUTRAL and not word.isdigit() for word in words_of(name))


def words_of(name: str) -> list[str]:
    """Return the words of an identifier in small letters.

    >>> words_of("OPENAI_API-Key2")
    ['openai', 'api', 'key', '2']
    """
    return [word.lower() for word in _WORD.findall(name)]


def _secret_words(names: list[str]) -> str | None:
    """Return the words of a secret's name, empty for a name that never is one, None for others."""
    *_, last = parts = [words_of(name) for name in names]
    words = [word for part in parts for word in part]
    is_id = last[-1] in _NEVER_LAST and last[-2:] != ["session", "id"]
    if is_id or not _NEVER.isdisjoint(last):
        return ""
    before = ["", *words]
    is_key = any(
        word in _KEY and before[at] not in _NOT_BEFORE_KEY for at, word in enumerate(words)
    )
    if is_key or not _STRONG.isdisjoint(words) or any(map(_JOINED.search, words)):
        return " ".join(words)
    return None
