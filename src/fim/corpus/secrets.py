"""Find obvious secrets in source text: known keys, private keys, passwords in addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_REDACTIONS = 20
COMMENTED_SECRET = "commented_secret"  # noqa: S105
_END_OF_KEY = "-----END"
_FEW_DIGITS = 2
_COMMENT_MARKS = ("#", "//", "*", "--", ";", "%")


@dataclass(frozen=True, slots=True)
class SecretRule:
    """A shape of secret, looked for only where one of its literals stands."""

    name: str
    literals: tuple[str, ...]
    pattern: re.Pattern[str]

    @property
    def placeholder(self) -> str:
        """The text that stands for a secret of this kind."""
        return f"REDACTED_{self.name.upper()}"


@dataclass(frozen=True, slots=True)
class Redaction:
    """A placeholder in a text: the kind of secret that stood there, and its characters."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class CleanText:
    """A text without secrets, and where placeholders stand in it."""

    text: str
    redactions: tuple[Redaction, ...]


def _rule(name: str, literals: str, pattern: str) -> SecretRule:
    return SecretRule(name, tuple(literals.split()), re.compile(pattern))


SECRET_RULES: tuple[SecretRule, ...] = (
    _rule(
        "private_key",
        "PRIVATE",
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:[\s\S]{0,20000}?-----END (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----)?",
    ),
    _rule("aws_access_key", "AKIA ASIA", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    _rule(
        "aws_secret_key",
        "aws AWS",
        r"(?i)aws.{0,20}secret.{0,20}[=:]\s*[\"']?(?P<part>[A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
    ),
    _rule("github_token", "ghp_ gho_ ghu_ ghs_ ghr_", r"\bgh[pousr]_[A-Za-z0-9]{36,}"),
    _rule("github_fine_grained_token", "github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{40,}"),
    _rule("gitlab_token", "glpat-", r"\bglpat-[A-Za-z0-9_-]{20,}"),
    _rule("slack_token", "xox", r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    _rule("slack_webhook", "hooks.slack.com", r"hooks\.slack\.com/services/T\w+/B\w+/\w{20,}"),
    _rule("google_api_key", "AIza", r"\bAIza[0-9A-Za-z_-]{35}"),
    _rule("stripe_key", "sk_live_ rk_live_", r"\b[sr]k_live_[0-9A-Za-z]{16,}"),
    _rule("ai_provider_key", "sk-", r"\bsk-(?:proj-|ant-|svcacct-)?[A-Za-z0-9_-]{32,}"),
    _rule("hugging_face_token", "hf_", r"\bhf_[A-Za-z0-9]{30,}"),
    _rule("npm_token", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    _rule("pypi_token", "pypi-", r"\bpypi-[A-Za-z0-9_-]{50,}"),
    _rule("sendgrid_key", "SG.", r"\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{32,}"),
    _rule("azure_account_key", "AccountKey=", r"AccountKey=(?P<part>[A-Za-z0-9+/]{60,}={0,2})"),
    _rule("putty_key", "PuTTY-User-Key-File", r"PuTTY-User-Key-File-\d:[\s\S]{0,8000}"),
    _rule("digitalocean_token", "dop_v1_ doo_v1_ dor_v1_", r"\bdo[opr]_v1_[a-f0-9]{64}\b"),
    _rule("shopify_token", "shp", r"\bshp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}\b"),
    _rule("databricks_token", "dapi", r"\bdapi[a-f0-9]{32}\b"),
    _rule("google_oauth_secret", "GOCSPX-", r"\bGOCSPX-[A-Za-z0-9_-]{24,}"),
    _rule("google_oauth_token", "ya29.", r"\bya29\.[A-Za-z0-9_-]{30,}"),
    _rule("telegram_token", ":AA", r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}(?![A-Za-z0-9_-])"),
    _rule("twilio_key", "SK AC", r"(?:SK|AC)(?<!\w(?:SK|AC))[0-9a-f]{32}\b"),
    _rule("mailgun_key", "key-", r"\bkey-[0-9a-f]{32}\b"),
    _rule("azure_signature", "sig=", r"[?&]sig=(?P<part>[A-Za-z0-9%+/]{40,}(?:%3[dD]|=)?)"),
    _rule("bearer_token", "earer ", r"\b[Bb]earer (?P<value>[A-Za-z0-9_.~+/-]{24,}=*)"),
    _rule(
        "connection_password",
        "assword= PWD= Pwd= pwd=",
        r"(?i)(?:server|data source|host|user id|uid|jdbc:)[^\n]{0,200}?;\s*(?:password|pwd)="
        r"(?P<value>[^;\s\"'{}<>$]{6,})",
    ),
    _rule(
        COMMENTED_SECRET,
        "oken ecret assword asswd pikey pi_key pi-key piKey TOKEN SECRET PASSWORD API_KEY",
        r"(?i)\b(?:token|secret|password|passwd|api[_-]?key)\b[^\w\n\"']{1,4}(?:is\s+)?"
        r"(?P<value>[A-Za-z0-9_\-+/=]{16,120})",
    ),
    _rule(
        "json_web_token",
        "eyJ",
        r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    ),
    _rule(
        "password_in_address",
        "://",
        r"(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|redis|rediss|amqps?|mssql|ftp|https?)"
        r"(?:\+\w+)?://[^\s:/@\"'<>{}$]+:(?P<value>[^\s/@\"'<>{}$%]{6,})@[\w.-]+",
    ),
    _rule(
        "assigned_secret",
        "password passwd secret api_key apikey access_key auth_token access_token "
        "PASSWORD PASSWD SECRET API_KEY APIKEY ACCESS_KEY AUTH_TOKEN ACCESS_TOKEN "
        "Password Secret ApiKey apiKey AccessKey accessToken authToken",
        r"(?i)(?:password|passwd|secret|api_?key|access_?key|auth_?token|access_?token)\w{0,16}"
        r"[\"']?\s*[:=]{1,2}\s*[\"'](?P<value>[A-Za-z0-9_\-+/=.!@#$%^&*]{16,120})[\"']",
    ),
)
_PLACEHOLDER = re.compile(
    r"(?i)pass|secret|example|changeme|your|dummy|test|placeholder|xxx|\*\*\*|foobar|redacted"
)
_SECRET_FILES = re.compile(
    r"(?i)^(?:\.env(?:\..+)?|.*\.(?:pem|key|p12|pfx|jks|keystore|kdbx)|id_(?:rsa|dsa|ecdsa|ed25519).*"
    r"|credentials(?:\..*)?|secrets?\.(?:ya?ml|json|toml|ini|env)|.*\.(?:ppk|env)|\.git-credentials"
    r"|\.dockercfg|\.vault-token|service[-_]account.*\.json|\.netrc|\.pgpass|\.npmrc|\.pypirc|\.htpasswd)$"
)


def is_secret_file(path: str) -> bool:
    """Tell whether a file's name alone says that it holds secrets.

    >>> is_secret_file("deploy/.env.production")
    True
    """
    return _SECRET_FILES.match(PurePosixPath(path).name) is not None


def find_secret(text: str) -> str | None:
    """Return the name of the first rule that finds a secret, never the secret; None without one."""
    return next((found.kind for found in _find_all(text)), None)


def redact(text: str) -> CleanText | None:
    """Return a text whose secrets are placeholders of their kinds, lines kept in number.

    A secret found once is replaced wherever it stands in the text.

    None where that is not safe: a key whose end is not found, more than 20 secrets, or a secret
    that is still found afterwards.
    """
    found = sorted(_everywhere(text), key=lambda item: (item.start, -item.end, item.kind))
    if not found:
        return CleanText(text, ())
    is_open = any(
        item.kind == "private_key" and _END_OF_KEY not in text[item.start : item.end]
        for item in found
    )
    if is_open or len(found) > MAX_REDACTIONS:
        return None
    placeholders = {rule.name: rule.placeholder for rule in SECRET_RULES}
    parts: list[str] = []
    redactions: list[Redaction] = []
    position = length = 0
    for item in found:
        if item.end <= position:
            continue
        start = max(item.start, position)
        before, secret = text[position:start], text[start : item.end]
        placeholder = placeholders[item.kind] + "\n" * secret.count("\n")
        length += len(before)
        redactions.append(Redaction(item.kind, length, length + len(placeholder)))
        length += len(placeholder)
        parts += [before, placeholder]
        position = item.end
    clean = "".join([*parts, text[position:]])
    return None if find_secret(clean) is not None else CleanText(clean, tuple(redactions))


def _everywhere(text: str) -> set[Redaction]:
    found = set(_find_all(text))
    for secret, kind in sorted({(text[item.start : item.end], item.kind) for item in found}):
        position = text.find(secret)
        while position >= 0:
            found.add(Redaction(kind, position, position + len(secret)))
            position = text.find(secret, position + len(secret))
    return found


def _find_all(text: str) -> Iterator[Redaction]:
    for rule in SECRET_RULES:
        if any(literal in text for literal in rule.literals):
            for match in rule.pattern.finditer(text):
                groups = match.groupdict()
                value = groups.get("value")
                if value is None:
                    start, end = match.span("part" if "part" in groups else 0)
                    yield Redaction(rule.name, start, end)
                elif _looks_secret(value) and _is_in_place(rule, text, match):
                    yield Redaction(rule.name, match.start("value"), match.end("value"))


def _is_in_place(rule: SecretRule, text: str, match: re.Match[str]) -> bool:
    if rule.name != COMMENTED_SECRET:
        return True
    before = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
    num_digits = sum(map(str.isdigit, match["value"]))
    return num_digits > _FEW_DIGITS and any(mark in before for mark in _COMMENT_MARKS)


def _looks_secret(value: str) -> bool:
    if _PLACEHOLDER.search(value):
        return False
    kinds = (str.isdigit, str.islower, str.isupper, lambda character: not character.isalnum())
    num_kinds = sum(any(kind(character) for character in value) for kind in kinds)
    varied = num_kinds > 1 and len(set(value)) * 2 >= len(value)
    return varied and any(map(str.isdigit, value))
