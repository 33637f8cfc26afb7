"""Recall of secrets drawn anew in every run: names, forms, alphabets, lengths, prefixes."""

from __future__ import annotations

import base64
import random
import string
import uuid
from typing import TYPE_CHECKING

import pytest

from fim.corpus.secret_prefixes import ALPHABETS as CLASSES
from fim.corpus.secret_prefixes import prefix_rows
from fim.corpus.secrets import redact

if TYPE_CHECKING:
    from collections.abc import Callable

MIN_RECALL = 0.98
DRAWS = 1500


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ALPHABETS = {
    "hex": "0123456789abcdef",
    "HEX": "0123456789ABCDEF",
    "base32": string.ascii_uppercase + "234567",
    "base36": string.ascii_lowercase + string.digits,
    "base62": string.ascii_letters + string.digits,
    "base64": string.ascii_letters + string.digits + "+/",
    "base64url": string.ascii_letters + string.digits + "-_",
}
NAMES = _words(
    "api_key apiKey API-KEY API_KEY ApiKey apikey client_secret clientSecret CLIENT_SECRET "
    "secret SECRET_KEY secretKey secret_key_base auth_token authToken AUTH_TOKEN access_token "
    "accessToken refresh_token REFRESH_TOKEN token TOKEN bot_token password PASSWORD "
    "db_password DbPassword DB_PASS passwd userPassword passphrase private_key privateKey "
    "signing_key signingSecret encryption_key ENCRYPTION_KEY webhook_secret "
    "aws_secret_access_key service_account_key credentials auth admin_pwd OPENAI_API_KEY "
    "STRIPE_KEY x-api-key X-Auth-Token jwt_secret access_key master_key session_secret "
    "cookie_secret app_key license_key hmac_key consumerSecret "
)
IDENTIFIERS = tuple(name for name in NAMES if "-" not in name)
QUOTED = (
    "{n} = {q}{v}{q}",
    "{n}={q}{v}{q}",
    "{n}: {q}{v}{q},",
    "{q}{n}{q}: {q}{v}{q},",
    '    "{n}": "{v}",',
    "self.{n} = {q}{v}{q}",
    "const {n} = {q}{v}{q};",
    "let {n}: string = {q}{v}{q};",
    "export const {n} = `{v}`;",
    '{n} := "{v}"',
    'var {n} string = "{v}"',
    'const {n} = "{v}"',
    'private static final String {n} = "{v}";',
    'public string {n} {{ get; set; }} = "{v}";',
    'val {n}: String = "{v}"',
    'static let {n} = "{v}"',
    'let {n} = String::from("{v}");',
    'pub const {n}: &str = "{v}";',
    "$config['{n}'] = '{v}';",
    "'{n}' => '{v}',",
    ":{n} => '{v}',",
    "define('{n}', '{v}');",
    '#define {n} "{v}"',
    'std::string {n}{{"{v}"}};',
    '{n}: str = "{v}"',
    '{n}: SecretStr = SecretStr("{v}")',
    'os.environ["{n}"] = "{v}"',
    'os.environ.get("{n}", "{v}")',
    'os.getenv("{n}") or "{v}"',
    'process.env.{n} || "{v}"',
    'process.env.{n} ?? "{v}"',
    'connect(host, {n}="{v}", timeout=3)',
    'client.set_{n}("{v}")',
    'headers.set("{n}", "{v}")',
    'if {n} == "{v}":',
    '<add key="{n}" value="{v}"/>',
    '<setting name="{n}">{v}</setting>',
    "<{n}>{v}</{n}>",
    '<server {n}="{v}" port="1"/>',
    'body = "{{\\"{n}\\": \\"{v}\\"}}"',
    '{n} = (\n    "{v}"\n)',
    '- name: {n}\n  value: "{v}"',
    '"name": "{n}",\n  "value": "{v}"',
    'parser.add_argument("--{n}", default="{v}")',
    'tool --{n} "{v}"',
    'echo "{n}={v}" >> env',
    'url = "https://api.example.com/v1?{n}={v}&page=2"',
    '# {n}: "{v}"',
    "{n} = b'{v}'",
    '{n} = f"{v}"',
    '{n} = """{v}"""',
    'requests.get(url, auth=("{n}", "{v}"))',
    'buildConfigField("String", "{n}", "\\"{v}\\"")',
    'map.insert("{n}".to_string(), "{v}".to_string());',
    'Config{{Host: "x", {n}: "{v}"}}',
    '{{"user": "bob", "{n}": "{v}", "n": 1}}',
    'variable "{n}" {{ default = "{v}" }}',
    '(def {n} "{v}")',
    'System.setProperty("{n}", "{v}");',
    'curl -H "{n}: {v}" https://example.org',
    '"url": "https://example.org/hook?{n}={v}"',
)
BARE = (
    "{n}={v}",
    "export {n}={v}",
    "  {n}: {v}",
    "{n} = {v}",
    "ENV {n}={v}",
    "ENV {n} {v}",
    "ARG {n}={v}",
    "set {n}={v}",
    "tool --{n} {v} --verbose",
    "tool --{n}={v}",
    "- name: {n}\n  value: {v}",
    "# {n}: {v}",
    "// the {n} is {v}",
    "{n} ?= {v}",
    "$env:{n} = {v}",
    "setx {n} {v}",
    "RUN export {n}={v} && make",
    "//registry.example.org/:_{n}={v}",
    "machine example.org login me password {v}",
)
HEADERS = (
    "Authorization: Bearer {v}",
    "Authorization: Token {v}",
    "Authorization: token {v}",
    "Authorization: Basic {v}",
    "curl -H 'Authorization: Bearer {v}' https://example.org",
    'curl -H "Authorization: Token {v}" https://example.org',
    '"Authorization": "Bearer {v}",',
    '"Authorization": "Token {v}"',
    "headers['Authorization'] = 'Basic {v}'",
    '.header("Authorization", "Bearer {v}")',
    'req.Header.Set("Authorization", "Basic {v}")',
    "Authorization: ApiKey {v}",
    "X-Api-Key: {v}",
    "'X-Auth-Token': '{v}'",
)
ADDRESSES = (
    'URL = "postgres://app:{v}@db.internal:5432/app"',
    "DATABASE_URL=mysql://root:{v}@localhost/x",
    'redis = "redis://:{v}@cache:6379/0"',
    "https://user:{v}@git.example.org/team/repo.git",
    "amqp://guest:{v}@mq//",
    "mongodb+srv://admin:{v}@cluster0.example.net/test",
)


def length(draw: random.Random) -> int:
    return draw.choice((16, 20, 24, 32, 36, 40, 48, 64, draw.randint(16, 256)))


def value(draw: random.Random) -> str:
    name = draw.choice((*ALPHABETS, "uuid", "padded"))
    if name == "uuid":
        return str(uuid.UUID(int=draw.getrandbits(128), version=4))
    if name == "padded":
        return base64.b64encode(draw.randbytes(draw.randint(16, 96))).decode()
    return "".join(draw.choices(ALPHABETS[name], k=length(draw)))


def password(draw: random.Random) -> str:
    marks = "!@#$%^&*?-_+=."
    drawn = "".join(draw.choices(string.ascii_letters + string.digits + marks, k=length(draw)))
    return drawn + draw.choice(string.digits)


def quoted(draw: random.Random) -> tuple[str, str]:
    drawn = value(draw)
    form = draw.choice(QUOTED)
    names = NAMES if "{q}" in form or '"{n}"' in form else IDENTIFIERS
    return form.format(n=draw.choice(names), v=drawn, q=draw.choice("'\"`")), drawn


def bare(draw: random.Random) -> tuple[str, str]:
    drawn = value(draw)
    return draw.choice(BARE).format(n=draw.choice(NAMES), v=drawn), drawn


def header(draw: random.Random) -> tuple[str, str]:
    drawn = value(draw)
    return draw.choice(HEADERS).format(v=drawn), drawn


def address(draw: random.Random) -> tuple[str, str]:
    drawn = "".join(
        draw.choices(ALPHABETS[draw.choice(("hex", "base62", "base64url"))], k=length(draw))
    )
    return draw.choice(ADDRESSES).format(v=drawn), drawn


def marked(draw: random.Random) -> tuple[str, str]:
    drawn = password(draw)
    name = draw.choice(
        ("password", "DB_PASSWORD", "adminPassword", "secret", "SECRET_KEY", "passwd")
    )
    form = draw.choice(("{n} = '{v}'", '"{n}": "{v}"', '{n} := "{v}"', "{n}={v}", "  {n}: '{v}'"))
    return form.format(n=name, v=drawn), drawn


ROWS = sorted(set(prefix_rows()))
PLACES = (
    'session.headers.update(auth("{v}"))',
    "# ask with {v} until Friday",
    "fetch(`https://api.example.com/x?k={v}`)",
    'print(f"{{user}} {v}\\n")',
    "run('{v}', 3)",
    "{v}",
)


def token(draw: random.Random) -> tuple[str, str]:
    _, prefix, pattern = draw.choice(ROWS)
    characters, times = pattern.split("]", 1)
    alphabet = next(name for name, text in CLASSES.items() if text == characters + "]")
    letters = {
        "hex": "0123456789abcdef",
        "lower": string.ascii_lowercase + string.digits,
        "upper": string.ascii_uppercase + string.digits,
        "base32": ALPHABETS["base32"],
    }.get(alphabet, ALPHABETS["base62"])
    low = int("".join(filter(str.isdigit, times.split("}")[0])))
    high = low if "," not in times else low + 24
    drawn = prefix + "".join(draw.choices(letters, k=draw.randint(low, high)))
    return draw.choice(PLACES).format(v=drawn), drawn


@pytest.mark.parametrize("make", [quoted, bare, header, address, marked, token])
def test_drawn_secrets_are_found(make: Callable[[random.Random], tuple[str, str]]) -> None:
    seed = random.SystemRandom().getrandbits(32)
    draw = random.Random(seed)
    missed = []
    for _ in range(DRAWS):
        line, secret = make(draw)
        text = f"import os\n{line}\nprint(1)\n"
        clean = redact(text)
        if clean is None or secret in clean.text:
            missed.append(line)
            continue
        [found, *_] = clean.redactions
        before, after = clean.text[: found.start], clean.text[found.end :]
        assert text.startswith(before), (seed, line)
        assert text.endswith(after), (seed, line)
        assert found.num_removed == len(text) - len(before) - len(after) <= len(secret), line
    assert len(missed) <= (1 - MIN_RECALL) * DRAWS, (seed, len(missed), missed[:10])
