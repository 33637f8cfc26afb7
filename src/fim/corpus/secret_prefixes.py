"""The dated table of public prefixes: what services put before the random part of their tokens."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fim.corpus.secret_values import is_dummy, is_spread, unlike_words

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKED_ON = "2026-11-28"
CHECKED_AGAINST = "gitleaks b58d3f102cf3a2c84cb7f923d05c25c9b1aed84b (2026-07-22)"
ALPHABETS = {
    "hex": "[0-9A-Fa-f]",
    "lower": "[0-9a-z]",
    "upper": "[0-9A-Z]",
    "base32": "[2-7A-Z]",
    "base62": "[0-9A-Za-z]",
    "base64": "[0-9A-Za-z+/=_-]",
    "url": "[0-9A-Za-z_-]",
    "dotted": "[0-9A-Za-z_.~+/=-]",
}
_HEX = re.compile(r"[0-9a-f_-]+|[0-9A-F_-]+")
_MIN_UNLIKE_WORDS = 0.3
_ANY_VALUE = frozenset({"aws_access_key", "mailchimp_key", "slack_token"})
_OTHER = "prefixed_token"
_MIN_OTHER_UNLIKE_WORDS = 0.5
_TABLE = """
adafruit_key            base62  24+     aio_
adobe_secret            lower   32      p8e-
age_key                 upper   50+     AGE-SECRET-KEY-1 AGE-SECRET-KEY-PQ-1
ai_provider_key         url     20+     sk-proj- sk-svcacct- sk-admin-
ai_provider_key         url     20+     sk-None- sk-ant- sk-or-v1- sk-lf-
ai_provider_key         url     32+     sk-
airtable_token          dotted  60+     pat
alibaba_key             base62  16+     LTAI
anyscale_key            base62  32+     esecret_ aph0_
apify_token             base62  30+     apify_api_
artifactory_token       base62  50+     AKCp cmVmd
atlassian_token         dotted  24+     ATATT3 ATCTT3 ATBB ATOA ATSTT3
aws_access_key          upper   16      AKIA ASIA ABIA ACCA
aws_bedrock_key         base64  60+     ABSK
aws_bedrock_key         dotted  20+     bedrock-api-key-YmVkcm9jay
aws_marketplace_token   url     30+     amzn.mws. amzn1.oa2-cs.v1.
azure_devops_token      base62  20+     AZDO
bitbucket_token         dotted  24+     BBDC-
browserbase_key         url     20+     bb_live_ bb_test_
buildkite_token         base62  32+     bkua_ bkct_ bkaj_
cal_key                 base62  24+     cal_live_ cal_test_
cerebras_key            base62  32+     csk-
circleci_token          url     24+     CCIPAT_ CCIPRJ_
clickhouse_key          base62  38      4b1d
clojars_token           base62  32+     CLOJARS_
cloudflare_token        url     30+     cfut_ cfat_ cfk_
cloudflare_token        dotted  80+     v1.0-
contentful_token        url     32+     CFPAT-
crates_token            base62  32+     cio
databricks_token        hex     32      dapi dkea dose
daytona_key             hex     40+     dtn_
digitalocean_token      hex     64      dop_v1_ doo_v1_ dor_v1_
docker_token            url     20+     dckr_pat_ dckr_oat_ dckr_jti_
doppler_token           dotted  30+     dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit. dp.said.
dropbox_token           url     60+     sl.
duffel_token            url     32+     duffel_test_ duffel_live_
dynatrace_token         dotted  60+     dt0c01. dt0s01. dt0s02. dt0s06. dt0s08. dt0s16.
e2b_key                 hex     40+     e2b_
easypost_key            base62  40+     EZAK EZTK
elevenlabs_key          hex     40+     sk_
facebook_token          base62  60+     EAAC EAAG EAAB EAAE EAAM EAAJ EAAF EAAD
figma_token             url     32+     figd_ figu_ figdr_ figur_ figoh_
firecrawl_key           hex     32      fc-
fireworks_key           base62  20+     fw_ fpk_
flutterwave_key         url     12+     FLWSECK_TEST- FLWSECK- FLWSECK_LIVE-
flyio_token             dotted  40+     fo1_ fm1r_ fm1a_ fm2_
frameio_token           url     50+     fio-u-
gemini_key              dotted  30+     AQ.Ab8
github_fine_grained_token base64 36+    github_pat_
github_token            dotted  36+     ghs_ ghu_
github_token            base62  36+     ghp_ gho_ ghr_
gitlab_token            dotted  18+     glpat- gldt- glrt- glrtr- glptt-
gitlab_token            dotted  18+     glft- glimt- glagent- gloas- glcbt-
gitlab_token            dotted  18+     glsoat- glffct- glwt- GR1348941
google_api_key          url     35+     AIza
google_oauth_secret     url     24+     GOCSPX-
google_oauth_token      dotted  30+     ya29. 1//0
grafana_token           base64  32+     glc_ eyJrIjoi
grafana_token           url     32+     glsa_
groq_key                base62  40+     gsk_
harness_token           dotted  60+     pat. sat.
heroku_key              url     50+     HRKU-AA HRKU-
hubspot_token           url     32+     pat-na1- pat-na2- pat-eu1- pat-ap1-
hugging_face_token      base62  30+     hf_ api_org_
infracost_token         base62  32      ico-
intercom_token          dotted  40+     dG9rOj
intra42_secret          hex     64      s-s4t2ud- s-s4t2af-
jina_key                url     40+     jina_
kaggle_token            hex     32+     KGAT_
langsmith_key           url     36+     lsv2_pt_ lsv2_sk_ ls__
launchdarkly_key        url     36      sdk- api- mob-
linear_key              base62  32+     lin_api_ lin_oauth_ lin_wh_
lob_key                 hex     35      live_ test_
mailgun_key             hex     32      key- pubkey-
mapbox_token            dotted  60+     sk.eyJ pk.eyJ tk.eyJ
meshy_key               base62  30+     msy_
neon_key                base62  40+     napi_
netlify_token           base62  32+     nfp_ nfc_ nfo_ nfu_ nfb_
new_relic_key           url     19+     NRAK- NRII- NRJS- NRRA- NRBR- NRSP-
new_relic_key           base62  40      eu01xx us01xx
notion_token            base62  40+     ntn_ secret_
npm_token               base62  36+     npm_
nuget_key               lower   43      oy2
nvidia_key              url     40+     nvapi-
octopus_key             upper   25+     API-
onepassword_token       base64  60+     ops_eyJ
openshift_token         url     43      sha256~
perplexity_key          base62  32+     pplx-
pinecone_key            url     40+     pcsk_
planetscale_token       dotted  32+     pscale_tkn_ pscale_pw_ pscale_oauth_
plaid_token             url     36      access-sandbox- access-development- access-production-
postman_key             url     40+     PMAK- PMAT-
posthog_key             url     32+     phx_ phs_
prefect_key             base62  36      pnu_ pnb_
private_key_base64      base64  60+     LS0tLS1CRUdJTiBSU0EgUFJJVkFURS LS0tLS1CRUdJTiBQUklWQVRFI
private_key_base64      base64  60+     LS0tLS1CRUdJTiBFQyBQUklWQVRFI
private_key_base64      base64  60+     LS0tLS1CRUdJTiBPUEVOU1NIIFBSSVZBVE
private_key_base64      base64  60+     LS0tLS1CRUdJTiBFTkNSWVBURUQgUFJJVkFURS
private_key_base64      base64  60+     LS0tLS1CRUdJTiBQR1AgUFJJVkFUR
pulumi_token            hex     40      pul-
pypi_token              url     50+     pypi-
railway_token           url     36+     rw_
razorpay_key            base62  14+     rzp_live_ rzp_test_
readme_key              lower   60+     rdme_
render_key              base62  20+     rnd_
replicate_token         base62  32+     r8_
resend_key              url     24+     re_
rubygems_key            hex     48      rubygems_
runpod_key              base62  32+     rpa_
scalingo_token          url     40+     tk-us-
scaleway_key            upper   17      SCW
sourcegraph_token       url     40+     sgp_local_ sgp_
sendgrid_key            dotted  48+     SG.
sendinblue_key          url     64+     xkeysib- xsmtpsib-
svix_key                base62  24+     testsk_
sentry_token            dotted  40+     sntrys_ sntryu_ sntrya_ sntryi_
shippo_token            hex     40      shippo_live_ shippo_test_
shopify_token           hex     32+     shpat_ shpca_ shppa_ shpss_ shptka_ shprt_ shpit_
slack_token             url     10+     xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xoxc- xoxd-
slack_token             url     20+     xoxe.xoxb- xoxe.xoxp- xapp- xwfp-
snyk_token              dotted  30+     snyk_uat. snyk_sat.
sonar_token             hex     40      sqp_ squ_ sqa_
square_token            url     22+     sq0atp- sq0csp- sq0idp- sq0cgp- EAAA
stripe_key              base62  10+     sk_live_ sk_test_ rk_live_ rk_test_ sk_prod_ rk_prod_
stripe_webhook_secret   base64  24+     whsec_
supabase_key            url     20+     sb_secret_ sbp_ sbp_oauth_
tailscale_key           url     16+     tskey-auth- tskey-api- tskey-client-
tailscale_key           url     16+     tskey-webhook- tskey-scim- tskey-
tavily_key              url     28+     tvly-
tencent_key             base62  28+     AKID
together_key            url     30+     tgp_v1_
trello_token            hex     64+     ATTA
twilio_key              hex     32      SK AC
twitter_token           url     60+     AAAAAAAAAAAAAAAAAAAAA
typeform_token          dotted  40+     tfp_
vault_token             dotted  24+     hvs. hvb. hvr.
vault_token             base62  24      s.
vercel_token            base62  24+     vcp_ vci_ vca_ vcr_ vck_ vercel_ vercel_blob_rw_
voyage_key              url     32+     pa-
wandb_key               url     40+     wandb_v1_
xai_key                 base62  48+     xai-
yandex_key              url     35+     AQVN t1.
youtrack_token          dotted  40+     perm-
zuplo_key               url     40+     zpka_
"""
_SHAPES = (
    ("atlas_token", r"[0-9A-Za-z]{14}\.atlasv1\.[0-9A-Za-z_=-]{50,}+"),
    ("azure_client_secret", r"[0-9A-Za-z_~.]{3}[0-9][A-Z]~[0-9A-Za-z_~.-]{31,34}(?![\w~.-])"),
    ("azure_service_key", r"[0-9A-Za-z]{50,54}JQQJ99[0-9A-Za-z]{24,30}+"),
    ("discord_token", r"[MNO][0-9A-Za-z_-]{23,27}\.[0-9A-Za-z_-]{6}\.[0-9A-Za-z_-]{27,}+"),
    ("discord_token", r"mfa\.[0-9A-Za-z_-]{60,}+"),
    ("mailchimp_key", r"[0-9a-f]{32}-us[0-9]{1,2}(?![\w-])"),
    ("onepassword_key", r"A3-[0-9A-Z]{6}(?:-?[0-9A-Z]{5,6}){2}(?:-[0-9A-Z]{5}){2,3}(?!\w)"),
    ("maxmind_key", r"[0-9A-Za-z]{6}_[0-9A-Za-z]{29}_mmk(?!\w)"),
    (
        _OTHER,
        r"(?<![_+/.~-])(?!sha\d)(?:[a-z][0-9a-z]{1,11}(?:[_-][0-9a-z]{1,10}){0,3}|[A-Z]{3,12})[_-]"
        r"(?=[A-Za-z]*[0-9])(?=[0-9a-z]*[A-Z])(?=[0-9A-Z]*[a-z])[0-9A-Za-z]{30,}+",
    ),
)


def prefix_rows() -> Iterator[tuple[str, str, str]]:
    """Yield kind, prefix and pattern of the drawn part of every row, longest prefixes first."""
    rows = [line.split() for line in _TABLE.strip().split("\n")]
    entries = [
        (prefix, kind, alphabet, count)
        for kind, alphabet, count, *prefixes in rows
        for prefix in prefixes
    ]
    for prefix, kind, alphabet, count in sorted(entries, key=lambda row: (-len(row[0]), row)):
        characters = ALPHABETS[alphabet]
        times = f"{{{count[:-1]},}}+" if count.endswith("+") else f"{{{count}}}(?![0-9A-Za-z])"
        yield kind, prefix, characters + times


def _compiled() -> tuple[re.Pattern[str], tuple[str, ...]]:
    by_letter: dict[str, list[tuple[str, str]]] = {}
    for kind, prefix, drawn in prefix_rows():
        by_letter.setdefault(prefix[0], []).append((kind, f"{re.escape(prefix[1:])}({drawn})"))
    by_letter[""] = [(kind, f"({pattern})") for kind, pattern in _SHAPES]
    tree = [
        f"{first}(?:{'|'.join(pattern for _, pattern in rows)})"
        for first, rows in by_letter.items()
    ]
    kinds = tuple(kind for rows in by_letter.values() for kind, _ in rows)
    return re.compile(rf"(?<![0-9A-Za-z])(?:{'|'.join(tree)})"), kinds


_PATTERN, _KINDS = _compiled()
PREFIXED_KINDS = frozenset(_KINDS)


def prefixed(text: str, start: int, end: int) -> tuple[str, int, int] | None:
    """Return kind, start and end of the first token with a public prefix that starts in a range.

    An empty range means its first character alone.
    """
    match = _PATTERN.search(text, start, end) if end > start else _PATTERN.match(text, start)
    while match is not None:
        whole = _PATTERN.match(text, match.start()) or match
        group = whole.lastindex or 0
        kind = _KINDS[group - 1]
        if _is_drawn(kind, whole[group]):
            return kind, whole.start(), whole.end()
        position = match.end()
        match = _PATTERN.search(text, position, end) if end > position else None
    return None


def _is_drawn(kind: str, value: str) -> bool:
    """Tell whether the part after a prefix is drawn, not a name: by its letters and entropy."""
    if is_dummy(value):
        return False
    if kind in _ANY_VALUE:
        return True
    if kind == _OTHER:
        return unlike_words(re.split("[_-]", value)[-1]) >= _MIN_OTHER_UNLIKE_WORDS
    is_drawn = _HEX.fullmatch(value) is not None or unlike_words(value) >= _MIN_UNLIKE_WORDS
    return is_drawn and is_spread(value)
