"""Secrets of every kind, planted in code and comments, stand in no output of any command."""

from __future__ import annotations

import json
import random
import re
import string
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fim.cli.app import make_app
from fim.corpus.secret_prefixes import ALPHABETS, prefix_rows
from fim.corpus.secrets import SECRET_RULES

DRAW = random.Random(11)


def letters(count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    body = "".join(DRAW.choice(alphabet) for _ in range(count - 3))
    return f"{body}a7Z" if alphabet.startswith("abcdefghi") else f"{body}07a"


HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits
KEY_BODY = letters(60)
SAMPLES: dict[str, tuple[str, str]] = {
    "private_key": (
        "-----BEGIN RSA " + f"PRIVATE KEY-----\n{KEY_BODY}\n-----END RSA " + "PRIVATE KEY-----",
        KEY_BODY,
    ),
    "aws_access_key": ("AKIA{}", "".join(DRAW.choice(UPPER) for _ in range(16))),
    "aws_secret_key": ("aws_secret_access_key = '{}'", letters(40)),
    "github_token": ("ghp_{}", letters(36)),
    "github_fine_grained_token": ("github_pat_{}", letters(60)),
    "gitlab_token": ("glpat-{}", letters(20)),
    "slack_token": ("xoxb-{}", letters(30)),
    "slack_webhook": ("https://hooks.slack.com/services/T0/B0/{}", letters(24)),
    "google_api_key": ("AIza{}", letters(35)),
    "stripe_key": ("sk_live_{}", letters(24)),
    "ai_provider_key": ("sk-proj-{}", letters(40)),
    "hugging_face_token": ("hf_{}", letters(34)),
    "npm_token": ("npm_{}", letters(36)),
    "pypi_token": ("pypi-{}", letters(70)),
    "sendgrid_key": ("SG.abcdefghijklmnop.{}", letters(40)),
    "azure_account_key": ("AccountKey={}", letters(80)),
    "putty_key": ("PuTTY-User-Key-File-3: ssh-rsa\nPrivate-Lines: 1\n{}", letters(64)),
    "digitalocean_token": ("dop_v1_{}", letters(64, HEX)),
    "shopify_token": ("shpat_{}", letters(32, HEX)),
    "databricks_token": ("dapi{}", letters(32, HEX)),
    "google_oauth_secret": ("GOCSPX-{}", letters(28)),
    "google_oauth_token": ("ya29.{}", letters(60)),
    "telegram_token": ("1234567890:AA{}", letters(33)),
    "twilio_key": ("SK{}", letters(32, HEX)),
    "mailgun_key": ("key-{}", letters(32, HEX)),
    "azure_signature": ("https://x.blob/y?sv=1&sig={}", letters(60)),
    "bearer_token": ("Authorization: Bearer {}", letters(40)),
    "connection_password": ("Server=db;User Id=sa;Password={};", letters(16)),
    "commented_secret": ("the token: {}", letters(24)),
    "json_web_token": ("eyJhbGciOiJIUzI1.eyJzdWIiOiIxMjM0.{}", letters(30)),
    "password_in_address": ("postgres://app:{}@db.internal/app", letters(14)),
    "assigned_secret": ("DB_PASSWORD = '{}'", letters(20)),
    "chat_webhook": ("https://discord.com/api/webhooks/123456789012345678/{}", letters(68)),
    "password_in_command": ("curl -u admin:{} https://x", letters(20)),
    "atlas_token": ("a1B2c3D4e5F6g7.atlasv1.{}", letters(67)),
    "azure_client_secret": ("a1B8Q~{}", letters(34)),
    "azure_service_key": ("{}", letters(52) + "JQQJ99" + letters(26)),
    "discord_token": ("M{}", f"{letters(25)}.G{letters(5)}.{letters(38)}"),
    "mailchimp_key": ("{}-us12", letters(32, HEX)),
    "maxmind_key": ("a1B2c3_{}_mmk", letters(29)),
    "onepassword_key": ("A3-{}", "ASWWYB-798JRYLJVD4-23DC2-86TVM-H43EB"),
    "prefixed_token": ("zzyx_live_{}", letters(32)),
}
LETTERS = {
    "hex": HEX,
    "lower": string.ascii_lowercase + string.digits,
    "upper": UPPER,
    "base32": string.ascii_uppercase + "234567",
}


def from_table() -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield a sample of each kind of the table of prefixes that has none yet."""
    classes = {text: name for name, text in ALPHABETS.items()}
    for kind, prefix, pattern in prefix_rows():
        if kind not in SAMPLES:
            characters, times = re.fullmatch(r"(\[.*?\])\{(\d+).*", pattern).groups()
            alphabet = LETTERS.get(classes[characters], string.ascii_letters + string.digits)
            drawn = "".join(DRAW.choices(alphabet, k=int(times)))
            yield kind, (f"{prefix}{{}}", drawn)


SAMPLES.update(dict(from_table()))


def module(seed: int, extra: str = "") -> str:
    parts = [
        f"def part_{seed}_{n}(left_{seed}, right_{n}):\n"
        f"    if left_{seed} > {seed * 17 + n}:\n"
        f"        return combine_{seed}(left_{seed}, right_{n}, factor={n})\n"
        f"    return [item_{seed} * {n} for item_{seed} in right_{n}]\n\n\n"
        for n in range(10)
    ]
    return "".join([*parts[:5], extra, *parts[5:]])


def planted(text: str) -> str:
    commented = "".join(f"# {line}\n" for line in text.split("\n"))
    return f'{commented}SETTING = """{text}"""\n\n\n'


def test_every_rule_is_planted() -> None:
    assert set(SAMPLES) == {rule.name for rule in SECRET_RULES}


def test_no_planted_secret_stands_in_any_output_of_any_command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    qwen3_tokenizer_folder: Path,
) -> None:
    tokenizer = str(qwen3_tokenizer_folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FIM_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / "app"
    root.mkdir()
    for number, (name, (shape, secret)) in enumerate(SAMPLES.items()):
        text = shape.format(secret)
        (root / f"with_{name}.py").write_text(module(number, planted(text)))
    for name in (".env", "id_rsa", "server.pem", "credentials.json"):
        (root / name).write_text(f"TOKEN={SAMPLES['github_token'][1]}\n")
    for number in range(900, 906):
        (root / f"plain_{number}.py").write_text(module(number))
    app = make_app()
    told = []
    for arguments in (
        ["data", "build", "app", "--out", "set"],
        ["data", "build", "app", "--out", "set", "--json", "-v"],
        ["data", "build", "app", "--explain", "app/.env"],
        ["data", "build", "app", "--explain", "app/with_slack_token.py"],
        ["data", "check", "set"],
        ["data", "stats", "set", "--html", "page.html"],
        ["data", "stats", "set", "--json"],
        ["data", "inspect", "set", "--model", tokenizer, "--index", "13", "--html", "row.html"],
        ["data", "inspect", "set", "--model", tokenizer, "--index", "40", "--json"],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        told += [result.stdout, result.stderr]
    assert all("REDACTED_" in text for text in (told[-4], told[-2]))
    written = "".join(told) + caplog.text
    for path in sorted((tmp_path / "set").rglob("*.parquet")):
        written += json.dumps(pq.read_table(path).to_pylist())
    for folder in ("set", "cache", "."):
        for path in sorted((tmp_path / folder).glob("**/*" if folder != "." else "*.html")):
            written += path.read_bytes().decode("utf-8", "replace") if path.is_file() else ""
    assert [name for name, (_, secret) in SAMPLES.items() if secret in written] == []
    manifest = json.loads((tmp_path / "set/manifest.json").read_text())
    assert manifest["files"]["dropped"]["secret_file"] == 4
    assert manifest["content"]["redacted_files"] + manifest["files"]["dropped"].get(
        "secret", 0
    ) == len(SAMPLES)
    characters = manifest["content"]["redacted_characters"]
    assert characters.keys() == manifest["content"]["redacted_secrets"].keys()
    assert characters["github_token"] == 2 * len("ghp_" + SAMPLES["github_token"][1])
    assert json.loads(told[2])["content"]["redacted_characters"] == characters
