"""Secrets of many kinds are found, and placeholders are not."""

from __future__ import annotations

import pytest

from fim.corpus.secrets import (
    SECRET_RULES,
    CleanText,
    SecretRule,
    find_secret,
    is_secret_file,
    redact,
)

HEX = "0123456789abcdef" * 4
MIXED = "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zA1bC3dE5f"


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("private_key", "-----BEGIN RSA " + "PRIVATE KEY-----"),
        ("private_key", "-----BEGIN " + "PRIVATE KEY-----"),
        ("aws_access_key", "id = AKIA" + "IOSFODNN7ABCDEFG"),
        ("aws_secret_key", f'aws_secret_access_key = "{MIXED}"'),
        ("github_token", "ghp_" + MIXED[:36]),
        ("github_fine_grained_token", "github_pat_" + MIXED + "_x"),
        ("gitlab_token", "glpat-" + MIXED[:20]),
        ("slack_token", "xoxb-" + "123456789012-abcdef"),
        ("slack_webhook", "https://hooks.slack.com/services/T000/B000/" + MIXED[:24]),
        ("google_api_key", "AIza" + MIXED[:35]),
        ("stripe_key", "sk_live_" + MIXED[:24]),
        ("ai_provider_key", "sk-proj-" + MIXED),
        ("hugging_face_token", "hf_" + MIXED[:34]),
        ("npm_token", "npm_" + MIXED[:36]),
        ("pypi_token", "pypi-" + MIXED + MIXED),
        ("sendgrid_key", "SG." + MIXED[:22] + "." + MIXED),
        ("azure_account_key", "AccountKey=" + MIXED + MIXED),
        ("json_web_token", "eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.SflKxwRJSMeKKF2QT4"),
        ("password_in_address", "postgres://app:s3cr-t7Kq@db.internal/app"),
        ("assigned_secret", f'DB_PASSWORD = "{MIXED[:20]}"'),
        ("assigned_secret", f"'api_key': '{HEX[:32]}'"),
    ],
)
def test_each_rule_finds_its_kind(rule: str, text: str) -> None:
    assert find_secret(f"before\n# {text}\nafter") == rule


@pytest.mark.parametrize(
    "text",
    [
        'password = "your-password-goes-here"',
        'secret = "changeme-changeme-1"',
        "https://user:password@example.org/",
        "postgres://{user}:{password}@{host}/x",
        'token = get_token("access_token_for_user")',
        'api_key = "aaaaaaaaaaaaaaaaaaaa1111"',
        "sk-learn and hf_hub_download(repo_id)",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_ordinary_text_passes(text: str) -> None:
    assert find_secret(text) is None


def test_every_rule_has_a_test_name() -> None:
    assert len({rule.name for rule in SECRET_RULES}) == len(SECRET_RULES)


@pytest.mark.parametrize("name", [".env.local", "a/b/cert.p12", "id_ed25519", ".netrc"])
def test_secret_files(name: str) -> None:
    assert is_secret_file(name)


@pytest.mark.parametrize("name", ["environment.py", "keyboard.py", "monkey.py"])
def test_ordinary_files(name: str) -> None:
    assert not is_secret_file(name)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ("digitalocean_token", "dop_v1_" + HEX),
        ("shopify_token", "shpat_" + HEX[:32]),
        ("databricks_token", "dapi" + HEX[:32]),
        ("google_oauth_secret", "GOCSPX-" + MIXED[:28]),
        ("google_oauth_token", "ya29." + MIXED),
        ("telegram_token", "1234567890:AA" + MIXED[:33]),
        ("twilio_key", "SK" + HEX[:32]),
        ("mailgun_key", "key-" + HEX[:32]),
        ("azure_signature", "https://x.blob/y?sv=1&sig=" + MIXED + MIXED),
        ("bearer_token", "Authorization: Bearer " + MIXED),
        ("connection_password", "Server=db;User Id=sa;Password=s3cr-t7Kq!;"),
        ("commented_secret", f"the token: {MIXED[:24]}"),
    ],
)
def test_more_kinds_are_found_in_comments(rule: str, text: str) -> None:
    assert find_secret(f"before\n# {text}\nafter") == rule


def test_a_redacted_text_keeps_its_lines_and_loses_its_secrets() -> None:
    key = "-----BEGIN RSA " + "PRIVATE KEY-----\nMIIB\nabcd\n-----END RSA " + "PRIVATE KEY-----"
    text = f"a = 1\nkey = '''{key}'''\nuser = 'AKIA" + "IOSFODNN7ABCDEFG'\nz = 2\n"
    clean = redact(text)
    assert clean is not None
    assert clean.text.count("\n") == text.count("\n")
    assert "MIIB" not in clean.text
    assert "IOSFODNN7" not in clean.text
    assert clean.text.startswith("a = 1\nkey = '''REDACTED_PRIVATE_KEY\n")
    for item in clean.redactions:
        assert clean.text[item.start : item.end].startswith(f"REDACTED_{item.kind.upper()}")
    assert redact(clean.text) == CleanText(clean.text, ())


@pytest.mark.parametrize("rule", SECRET_RULES, ids=lambda rule: str(rule.name))
def test_no_placeholder_is_a_secret(rule: SecretRule) -> None:
    text = (
        f"password = '{rule.placeholder}'  # token: {rule.placeholder}\nx://u:{rule.placeholder}@h"
    )
    assert find_secret(text) is None


def test_what_cannot_be_redacted_safely_is_refused() -> None:
    assert redact("-----BEGIN " + "PRIVATE KEY-----\nMIIB\nno end") is None
    many = "\n".join(f"k{n} = 'AKIA{n:016d}'" for n in range(100, 130))
    assert redact(many) is None
    assert redact("nothing here") == CleanText("nothing here", ())
