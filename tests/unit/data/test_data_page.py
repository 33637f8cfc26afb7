from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

from fakes import ByteTokenizer
from fim.data import ExampleEncoder, inspect_example, inspection_page, language_histograms
from fim.data.histogram import doubling_bins
from fim.formats import resolve_format
from fim.types import FimExample, SegmentKind

TOKENIZER = ByteTokenizer.smollm2()
EXAMPLES = (
    FimExample(prefix="a", middle="<b>&\x1b", suffix="c", language="Python"),
    FimExample(prefix="a" * 900, middle="", suffix="c", language="Python"),
    FimExample(prefix="a", middle="b" * 900, suffix="c", language="Go"),
    FimExample(prefix="a", middle="bb", suffix="c"),
)


def encoder() -> ExampleEncoder:
    return ExampleEncoder(
        resolve_format("psm", TOKENIZER), TOKENIZER, max_seq_length=300, middle_reserve_tokens=50
    )


class TagChecker(HTMLParser):
    """Counts open tags and collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in {"script", "link", "img"}
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_histograms_count_per_language() -> None:
    python, unknown, go = language_histograms(EXAMPLES, encoder())
    assert (python.language, python.num_rows, python.num_cut) == ("Python", 2, 1)
    assert [(each.label, each.num_rows) for each in python.middle_tokens] == [
        ("0", 1),
        ("1", 0),
        ("2-3", 0),
        ("4-7", 1),
    ]
    assert (unknown.language, unknown.num_rows) == ("unknown", 1)
    assert (go.language, go.num_rows, go.num_dropped) == ("Go", 0, 1)
    assert go.middle_tokens == ()
    assert unknown.mean_tokens[SegmentKind.MIDDLE] == 2
    answer = unknown.as_json()
    assert answer["middle_tokens"][-1] == {"from": 2, "to": 3, "rows": 1}
    assert answer["mean_tokens"]["control"] == 3


def test_bins_of_nothing_are_none() -> None:
    assert doubling_bins([]) == ()


def test_the_page_stands_alone_and_shows_everything() -> None:
    histograms = language_histograms(EXAMPLES, encoder())
    inspection = inspect_example(EXAMPLES[0], encoder())
    page = inspection_page(inspection, histograms, title="a<b> row 0", trains_on="middle")
    checker = TagChecker()
    checker.feed(page)
    assert not checker.open
    for text in ("a<b> row 0", "<b>&\\x1b", "<|endoftext|>", "Python: 2 rows", "the marked tokens"):
        assert text in checker.text
    assert 'class="middle trained"' in page
    assert 'class="prefix"' in page
    assert "\x1b" not in page
    assert page.count('class="trained">') == 1 + len("<b>&\x1b") + 1


def test_the_page_tells_of_loss_on_all_and_of_what_was_cut() -> None:
    inspection = inspect_example(EXAMPLES[1], encoder())
    page = inspection_page(inspection, title="t", trains_on="all")
    assert "<th>training takes the loss on</th><td>all</td>" in page
    assert f"<td>{inspection.cut.prefix_tokens} tokens</td>" in page
    assert "<th>the hole begins</th><td>where it was given</td>" in page
    moved = inspection_page(replace(inspection, moved_chars=3), title="t", trains_on="all")
    assert "<td>3 characters earlier than given</td>" in moved
