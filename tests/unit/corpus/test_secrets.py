"""Secrets of many kinds are found, and placeholders are not."""

from __future__ import annotations

import time

import pytest

from fim.corpus.secret_prefixes import CHECKED_AGAINST, CHECKED_ON
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
        ("private_key", "-----BEGIN RSA " + "PRIVATE KEY-----\n# MIIB"),
        ("private_key", "-----BEGIN " + "PRIVATE KEY-----\\nMIIB"),
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


@pytest.mark.parametrize(
    "name", [".env.local", "a/b/cert.p12", "id_ed25519", ".netrc", "credentials.json", "id_rsa.old"]
)
def test_secret_files(name: str) -> None:
    assert is_secret_file(name)


@pytest.mark.parametrize(
    "name",
    [
        "environment.py",
        "keyboard.py",
        "monkey.py",
        "config/credentials/credentials.go",
        "okhttp3/Credentials.kt",
        "credentials.py",
        "credentials.ts",
        "Credentials.java",
        "id_rsa_parser.py",
        ".env.js",
    ],
)
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


BEGIN, END = "-----BEGIN RSA " + "PRIVATE KEY-----", "-----END RSA " + "PRIVATE KEY-----"
BODY = ("MIIEowIBAAKCAQEAq7Zx9kTz" + MIXED, MIXED[::-1] + "Zz19", "aB3dE5gH7jK9mN==")


@pytest.mark.parametrize(
    "text",
    [
        f'A = "{BEGIN}"\n\n\ndef kept(a, b):\n    return a + b\n\n\nB = "{END}"\n',
        f'const a = "{BEGIN}", b = "{END}";\n',
        f"MARKS = {{'rsa': '{BEGIN}'}}\n",
        f'pem = "{BEGIN}\\n" + body + "\\n{END}"\n',
        f"if line == '{BEGIN}':\n    while not line.startswith('{END}'):\n        read()\n",
        f"{BEGIN}\n...\n{END}\n",
        "Private-Lines: 14\nwhile lines and not stop:\n    lines.pop()\n",
    ],
)
def test_the_first_and_last_line_of_a_key_alone_are_no_secret(text: str) -> None:
    assert redact(text) == CleanText(text, ())


@pytest.mark.parametrize(
    ("before", "join", "after"),
    [
        ("KEY = '''", "\n", "'''\n"),
        ("KEY = '", "\\n", "\\n'\n"),
        ("key = '", "\\n' +\n  '", "';\n"),
        ("key = ['", "',\n  '", "'].join('');\n"),
        ("# ", "\n# ", "\n"),
        (" * ", "\n * ", "\n */\n"),
        ("  |", "\n  |", "\n"),
    ],
)
def test_of_a_key_its_own_characters_alone_go(before: str, join: str, after: str) -> None:
    text = "a = 1\n" + before + join.join((BEGIN, *BODY, END)) + after + "b = 2\n"
    clean = redact(text)
    assert clean is not None
    assert clean.text == "a = 1\n" + before + "REDACTED_PRIVATE_KEY" + join * 4 + after + "b = 2\n"
    [found] = clean.redactions
    assert found.num_removed == len("".join((BEGIN, *BODY, END)))
    assert clean.text[found.start : found.end] == "REDACTED_PRIVATE_KEY" + join * 4


def test_a_token_leaves_quotes_lines_and_code() -> None:
    token = "gh" + "p_" + MIXED[:36]
    clean = redact(f'call(f"{{a}} {token}\\n", 3)  # {token}\n')
    assert clean is not None
    assert clean.text == ('call(f"{a} REDACTED_GITHUB_TOKEN\\n", 3)  # REDACTED_GITHUB_TOKEN\n')
    assert [item.num_removed for item in clean.redactions] == [len(token)] * 2


def test_a_short_password_is_replaced_as_a_whole_word_only() -> None:
    text = "a = 'redis://:k9Zt-3q@cache'\nb = 'k9Zt-3q'\nk9Zt-3qs = 1\n"
    clean = redact(text)
    assert clean is not None
    assert clean.text == text.replace("k9Zt-3q@", "REDACTED_PASSWORD_IN_ADDRESS@").replace(
        "'k9Zt-3q'", "'REDACTED_PASSWORD_IN_ADDRESS'"
    )


@pytest.mark.parametrize("length", [16, 24, 32, 36, 40, 48, 64, 120, 150, 4000])
def test_no_length_is_too_long(length: int) -> None:
    value = (HEX * 80)[3 : length + 3]
    assert find_secret(f'api_key = "{value}"') == "assigned_secret"


def test_the_table_of_prefixes_says_when_and_against_what_it_was_checked() -> None:
    assert len(CHECKED_ON.split("-")) == 3
    assert CHECKED_AGAINST.startswith("gitleaks ")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Authorization: Token " + HEX[:40], "assigned_secret"),
        ("export API_KEY=" + HEX[:40], "assigned_secret"),
        ("client_secret = `" + HEX[:40] + "`", "assigned_secret"),
        ("token = '" + HEX[:40] + "'", "assigned_secret"),
        ("sk_te" + "st_" + MIXED[:24], "stripe_key"),
        ("AGE-SEC" + "RET-KEY-1" + "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L" * 2, "age_key"),
        ("sb_sec" + "ret_" + MIXED[:31], "supabase_key"),
        ("zzyx_live_" + MIXED, "prefixed_token"),
    ],
)
def test_shapes_that_once_passed_are_found(text: str, kind: str) -> None:
    assert find_secret(f"x = 1\n{text}\ny = 2\n") == kind


def test_only_the_value_of_a_connection_leaves() -> None:
    text = "url = 'https://hooks.slack.com/services/T000/B000/" + MIXED[:24] + "'\n"
    clean = redact(text)
    assert clean is not None
    assert clean.text == text.replace(MIXED[:24], "REDACTED_SLACK_WEBHOOK")


@pytest.mark.parametrize(
    "text",
    ["-eyJ" * 40_000, "key=" * 60_000, "a1." * 90_000, f"{BEGIN}\n" * 9_000, "x://a:b" * 30_000],
)
def test_long_texts_take_time_in_proportion(text: str) -> None:
    started = time.process_time()
    redact(text)
    assert time.process_time() - started < 10
