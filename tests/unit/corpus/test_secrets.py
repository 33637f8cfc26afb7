"""Secrets of many kinds are found, and placeholders are not."""

from __future__ import annotations

import pytest

from fim.corpus.secrets import SECRET_RULES, find_secret, is_secret_file

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
