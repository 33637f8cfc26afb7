"""Text that only looks like secrets survives: hashes, names, dummies and code about keys."""

from __future__ import annotations

import random
import string

import pytest

from fim.corpus.secrets import CleanText, redact

BASE64 = string.ascii_letters + string.digits + "+/"
HEX = "0123456789abcdef"
LINES = r"""
commit = "{h40}"
GIT_SHA = "{h40}"
revision="{h40}"
sha256 = "{h64}"
"sha256:{h64}"
    sha256: "{h64}",
checksum = "{h64}"
integrity="sha384-{b64}"
"integrity": "sha512-{b86}==",
<script src="x.js" integrity="sha384-{b64}" crossorigin="anonymous"></script>
uses: actions/checkout@{h40}
FROM python@sha256:{h64}
--hash=sha256:{h64}
EXPECTED_MD5 = "{h32}"
assert digest == "{h64}"
self.assertEqual(sha1(data), "{h40}")
tokenizer_revision = "{h40}"
request_id = "{uuid}"
"id": "{uuid}",
USER_ID = UUID("{uuid}")
NAMESPACE = uuid.UUID("{uuid}")
data:image/png;base64,{b200}
IMAGE = "{b200}"
icon = b64decode("{b86}")
const fixture = "{b200}";
color: "#{h6}"
background = "#{h6}";
api_key = "your-api-key-here"
api_key = "YOUR_API_KEY_GOES_HERE_PLEASE"
token = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
token = "<your-token-goes-here>"
TOKEN = "${{ secrets.GITHUB_TOKEN }}"
token: ${TOKEN_FROM_ENVIRONMENT}
api_key = os.environ["API_KEY"]
api_key = os.environ.get("OPENAI_API_KEY")
password = getpass.getpass("Password: ")
secret = getSecretFromVault("production/database")
token = tokenizer.next_token()
token = self._tokenizer.get_next_token_id(position_ids)
key = row[key]
key = cache_key_for(user_id, version=3)
password = forms.CharField(widget=forms.PasswordInput)
BEGIN = "-----BEGIN RSA PRIVATE KEY-----"
END = "-----END RSA PRIVATE KEY-----"
const header = "-----BEGIN PRIVATE KEY-----"; const footer = "-----END PRIVATE KEY-----";
secret_key_base = Rails.application.credentials.secret_key_base
password: "Passwort"
"password_reset": "Passwort zurücksetzen",
password = "test1234"
password = "correct-horse-battery-staple"
password: 'hunter2',
passwordConfirmationPlaceholder: "resetPasswordConfirmationLabel"
const tokenExpirationInMilliseconds = 1000 * 60 * 60 * 24;
token_endpoint = "https://login.example.com/oauth2/v2.0/token"
TOKEN_URL = "https://www.googleapis.com/oauth2/v4/token"
secret_path = "/var/run/secrets/kubernetes.io/serviceaccount/token"
auth_header = "X-Custom-Authorization-Header-2"
access_token_expires_at = "2024-01-01T00:00:00Z"
key = "com.example.app.settings.notifications2"
public_key = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ{b200}"
cache_key = "{h32}"
etag = '"{h32}"'
"token_type": "urn:ietf:params:oauth:token-type:access_token",
if token == "access_token_for_user_12345":
headers = {{"Authorization": f"Bearer {{token}}"}}
headers["Authorization"] = "Bearer " + access_token
req.Header.Set("Authorization", "Bearer "+cfg.AccessToken)
curl -H "Authorization: Bearer $GITHUB_TOKEN" https://api.github.com
curl -H "Authorization: token YOUR_PERSONAL_ACCESS_TOKEN" x
postgres://user:password@localhost:5432/db
https://user:pass@example.com/path
DATABASE_URL=postgres://postgres:postgres@localhost/test
redis://localhost:6379/0
git@github.com:user/repository-name.git
password_hash = "$2b$12${b53}"
auth = HTTPBasicAuth('user', 'password')
secret = "a" * 64
key = b"0" * 32
keys = sorted(counter_by_identifier.keys())
private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
api_key: Optional[str] = None
api_key: str = Field(..., description="The API key used for authentication2024")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
TOKEN_CHARS = "abcdefghijklmnopqrstuvwxyz0123456789"
base64_key_chars = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
token_regex = "[A-Za-z0-9_]{{20,40}}"
KEY_PATTERN = r"^sk-[a-zA-Z0-9]{{32,64}}$"
if value.startswith("ghp_") or value.startswith("github_pat_"):
GITHUB_TOKEN_PREFIXES = ("ghp_", "gho_", "ghu_", "ghs_", "ghr_")
sk_test_your_stripe_secret_key_here
STRIPE_KEY = "sk_test_xxxxxxxxxxxxxxxxxxxxxxxx"
AWS_KEY = "AKIAIOSFODNN7EXAMPLE"
aws_secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
token = jwt.encode(payload, settings.SECRET_KEY, algorithm="HS256")
SECRET_KEY = env("DJANGO_SECRET_KEY", default="django-insecure-change-me")
self.token_classification_model_name2 = "bert-large-cased-finetuned-conll03-english"
model = TokenClassifier.from_pretrained("dbmdz/bert-large-cased-finetuned-conll03-english")
secret_name = "projects/my-project-123/secrets/db-password/versions/5"
arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf
key = "user:1234567890:profile:settings"
sk-learn-pipeline-component-identifier-name-long
class="sk-estimator-doc-link-and-container-wrapper"
"Etag": "{h32}",
x = hmac.new(key, msg, hashlib.sha256).hexdigest()
describe("credentials provider chain v2 fallback", () => {{
const ACCESS_TOKEN_COOKIE_NAME = "access_token_cookie_v2";
{{ name: "sessionToken", httpOnly: true }}
<input type="password" name="password" autocomplete="current-password">
passwordStrengthIndicatorClassName = "password-strength-indicator-lg2"
auth_plugins = ["mysql_native_password", "caching_sha2_password"]
ssl_ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
token = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
KEY_EXCHANGE = "diffie-hellman-group14-sha256"
key_algo = "ecdh-sha2-nistp256"
key_type = "ecdsa-sha2-nistp256-cert-v01@openssh.com"
hostkey = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{b40}"
version_token = "v1.2.3-beta.4+build.5678"
i18n.t("auth.login.passwordPlaceholder2")
key: "menu.file.openRecent2024"
token.kind = SyntaxKind.NumericLiteralToken2
secret = secrets.token_urlsafe(32)
credentials = Credentials.from_service_account_file("service-account-2024.json")
auth=("admin", "admin123")
tokens = r"H{{1,2}}|h{{1,2}}|m{{1,2}}|YYYY|YY|M{{1,4}}|D{{1,4}}|zz|A|X|dddd|ddd|d"
"""


def filled(line: str, draw: random.Random) -> str:
    """Return a line whose marks are drawn: ``{h40}`` 40 hex digits, ``{b64}`` 64 of base64."""

    def drawn(count: int, alphabet: str = HEX) -> str:
        return "".join(draw.choices(alphabet, k=count))

    for count in (6, 32, 40, 64):
        line = line.replace(f"{{h{count}}}", drawn(count))
    for count in (40, 53, 64, 86, 200):
        line = line.replace(f"{{b{count}}}", drawn(count, BASE64))
    parts = (drawn(8), drawn(4), f"4{drawn(3)}", f"a{drawn(3)}", drawn(12))
    return line.replace("{uuid}", "-".join(parts)).replace("{{", "{").replace("}}", "}")


@pytest.mark.parametrize("line", LINES.strip().split("\n"))
def test_what_only_looks_like_a_secret_survives(line: str) -> None:
    seed = random.SystemRandom().getrandbits(32)
    draw = random.Random(seed)
    for _ in range(20):
        text = f"import os\n{filled(line, draw)}\nprint(1)\n"
        assert redact(text) == CleanText(text, ()), (seed, text)
