from __future__ import annotations

import builtins
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fim.errors import MissingExtraError, RunFolderError
from fim.reporting import ReportData, SampleView, render_report, report_from_run, write_report

VOID = {"meta", "br", "hr", "img", "link", "input", "path", "use"}
HOSTILE = "</pre></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"


class Page(HTMLParser):
    """Collects tags, checks nesting, and keeps the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def data(unchanged_run: Path) -> ReportData:
    return report_from_run(unchanged_run)


@pytest.fixture(scope="module")
def html(data: ReportData) -> str:
    return render_report(data)


def test_page_is_well_nested(html: str) -> None:
    page = Page(html)

    assert html.startswith("<!doctype html>")
    assert page.open == []


def test_page_needs_no_script_and_no_network(html: str) -> None:
    page = Page(html)

    assert "script" not in {tag for tag, _ in page.tags}
    assert "link" not in {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on") or name == "src"]
        for name in ("href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith("#")
    assert "@import" not in html
    assert not re.search(r"url\((?!#)", html)
    assert "default-src &#39;none&#39;" in html or "default-src 'none'" in html


def test_page_suits_light_dark_and_phones(html: str) -> None:
    assert "@media (prefers-color-scheme: dark)" in html
    assert 'name="viewport"' in html
    assert "@media (max-width: 40rem)" in html


def test_page_is_accessible(html: str) -> None:
    page = Page(html)
    tags = page.tags

    assert next(attributes["lang"] for tag, attributes in tags if tag == "html") == "en"
    assert sum(tag == "h1" for tag, _ in tags) == 1
    plots = [attributes for tag, attributes in tags if attributes.get("role") == "img"]
    assert len(plots) == 2
    assert all(attributes.get("aria-label") for attributes in plots)
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    labels = {value for _, attributes in tags if (value := attributes.get("aria-labelledby"))}
    assert labels <= set(ids)
    heads = [attributes for tag, attributes in tags if tag == "th"]
    assert all(attributes.get("scope") in {"row", "col"} for attributes in heads)


def test_page_tells_what_was_measured(html: str) -> None:
    text = Page(html).text

    for told in ("−0.681 to −0.472", "2.318", "1.742", "previous line", "not enough to tell"):
        assert told in text
    assert "1 − (insertions + deletions)" in text
    assert "over the limit" in text
    assert "hf_must_never_be_shown" not in html


def test_code_of_others_stays_text(html: str) -> None:
    assert '<script>alert("x")</script>' not in html
    assert '<script>alert("x")</script>' in Page(html).text


def test_every_text_is_escaped(run_folder: Path) -> None:
    def hostile(value: object) -> object:
        if isinstance(value, dict):
            keyed = {"samples", "kind", "base", "tuned", "name", "base_name", "item"}
            return {
                key: inner if key in keyed and isinstance(inner, str) else hostile(inner)
                for key, inner in value.items()
            }
        if isinstance(value, list):
            return [hostile(inner) for inner in value]
        return HOSTILE if isinstance(value, str) else value

    for path in sorted(run_folder.rglob("*.json*")):
        lines = path.read_text(encoding="utf-8").splitlines()
        content = "".join(json.dumps(hostile(json.loads(line))) + "\n" for line in lines)
        path.write_text(content, encoding="utf-8")

    html = render_report(report_from_run(run_folder))

    page = Page(html)
    assert page.open == []
    assert "<script" not in html
    assert "<img" not in html
    assert "{{ 7 * 7 }}" in page.text


def test_hole_stands_between_prefix_and_suffix(html: str) -> None:
    hole = re.search(r"while i &lt; <mark>(.*?)</mark>", html)

    assert hole is not None
    assert hole.group(1) == "len(chunks)-1:"


def test_differences_are_marked_in_both_texts(html: str) -> None:
    assert "len(chunks)<del>-</del>1:" in html
    assert '<ins><span class="ws space"> </span></ins>' in html
    assert '<p class="nothing">nothing</p>' in html
    assert "did not stop" in html
    assert "exact</span>" in html


def test_carriage_returns_and_newlines_survive_parsing(html: str) -> None:
    assert "\r" not in html
    assert '<ins><span class="ws return"></span></ins>' in html
    assert '<span class="ws newline"></span>\n' in html


def test_characters_that_break_pages_are_named(data: ReportData) -> None:
    sample = SampleView("i", "a\u202eb", "", "", "\0", "gold", "\ud800", "gold", "gold")

    html = render_report(replace(data, samples=(sample,)))

    assert "U+0000" in html
    assert "U+D800" in html
    assert "aU+202Eb" in html
    html.encode("utf-8")


def test_a_leading_newline_is_kept(data: ReportData) -> None:
    sample = SampleView("i", "p", "", "", "\nx", "gold", "", "\ngold", "gold")

    html = render_report(replace(data, samples=(sample,)))

    assert "<pre><code>\nx<mark>" in html


def test_a_bare_run_still_has_a_page() -> None:
    html = render_report(ReportData("t", "nothing is known", "2026", "r", "m", ""))
    page = Page(html)

    assert page.open == []
    assert "nothing is known" in page.text
    assert "<svg" not in html
    assert "What tuning changed" not in page.text


def test_same_data_same_bytes(data: ReportData, html: str) -> None:
    assert render_report(data) == html


def test_opponents_are_named_where_they_differ(data: ReportData) -> None:
    assert data.comparison is not None
    first, *rest = data.comparison.rows
    rows = (replace(first, base_name="base-chat"), *rest)

    html = render_report(replace(data, comparison=replace(data.comparison, rows=rows)))

    assert "against base-chat" in html
    assert "<em>" not in html


def test_write_report_is_atomic(data: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    path.parent.mkdir()
    path.write_text("an older page", encoding="utf-8")

    assert write_report(data, path) == path
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert names_in(path.parent) == ["report.html"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_unwritable_place_is_an_error(data: ReportData, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(RunFolderError, match=r"Cannot (write|make)"):
        write_report(data, tmp_path / "file" / "report.html")


def test_failed_write_leaves_nothing_behind(data: ReportData, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()

    with pytest.raises(RunFolderError, match=r"Cannot (write|make)") as caught:
        write_report(data, tmp_path / "report.html")

    assert caught.value.hint
    assert names_in(tmp_path) == ["report.html"]


def test_missing_jinja_names_the_extra(data: ReportData, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def fail(name: str, *arguments: object, **keywords: object) -> object:
        if name.startswith("jinja2"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", fail)

    with pytest.raises(MissingExtraError, match="jinja2"):
        render_report(data)
