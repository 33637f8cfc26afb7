"""Find obvious secrets in source text: known keys, private keys, passwords in addresses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, slots=True)
class SecretRule:
    """A shape of secret, looked for only where one of its literals stands."""

    name: str
    literals: tuple[str, ...]
    pattern: re.Pattern[str]


def _rule(name: str, literals: str, pattern: str) -> SecretRule:
    return SecretRule(name, tuple(literals.split()), re.compile(pattern))


SECRET_RULES: tuple[SecretRule, ...] = (
    _rule("private_key", "PRIVATE", r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    _rule("aws_access_key", "AKIA ASIA", r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    _rule(
        "aws_secret_key",
        "aws AWS",
        r"(?i)aws.{0,20}secret.{0,20}[=:]\s*[\"']?[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])",
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
    _rule("azure_account_key", "AccountKey=", r"AccountKey=[A-Za-z0-9+/]{60,}={0,2}"),
    _rule(
        "json_web_token",
        "eyJ",
        r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    ),
    _rule(
        "password_in_address",
        "://",
        r"\b(?:postgres(?:ql)?|mysql|mariadb|mongodb(?:\+srv)?|redis|rediss|amqps?|mssql|ftp|https?)"
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
    r"|credentials(?:\..*)?|\.netrc|\.pgpass|\.npmrc|\.pypirc|\.htpasswd)$"
)


def is_secret_file(path: str) -> bool:
    """Tell whether a file's name alone says that it holds secrets.

    >>> is_secret_file("deploy/.env.production")
    True
    """
    return _SECRET_FILES.match(PurePosixPath(path).name) is not None


def find_secret(text: str) -> str | None:
    """Return the name of the first rule that finds a secret, never the secret; None without one."""
    for rule in SECRET_RULES:
        if any(literal in text for literal in rule.literals):
            for match in rule.pattern.finditer(text):
                value = match.groupdict().get("value")
                if value is None or _looks_secret(value):
                    return rule.name
    return None


def _looks_secret(value: str) -> bool:
    if _PLACEHOLDER.search(value):
        return False
    kinds = (str.isdigit, str.islower, str.isupper, lambda character: not character.isalnum())
    num_kinds = sum(any(kind(character) for character in value) for kind in kinds)
    varied = num_kinds > 1 and len(set(value)) * 2 >= len(value)
    return varied and any(map(str.isdigit, value))
