"""Context: found by what stands around a hole, never holding it, never from the other side."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.config import CorpusSettings
from fim.corpus.context import ContextCounts, Hole, Pick, choose_context, fuse, holds_middle
from fim.corpus.history import History
from fim.corpus.imports import ModuleTable, imports_in, module_parts
from fim.corpus.neighbours import Candidate, Neighbour, Neighbourhood
from fim.corpus.retrieval import WindowIndex, cut_windows, query_terms
from fim.corpus.symbols import definitions_in
from fim.corpus.syntax import Grammars

GRAMMARS = Grammars()
ALWAYS = CorpusSettings(context_none_share=0.0, context_distractor_share=0.0)
STORE = (
    "class LedgerStore:\n    def write_entry(self, account, amount):\n"
    "        self.rows.append((account, amount))\n\n\ndef open_ledger(path):\n"
    "    return LedgerStore(path)\n"
)
TARGET = (
    "from app.store import open_ledger\n\n\ndef post(path, account, amount):\n"
    "    ledger = open_ledger(path)\n    ledger.write_entry(account, amount)\n    return ledger\n"
)
FILES = {
    "app/store.py": STORE,
    "app/post.py": TARGET,
    "app/other.py": "def unrelated_thing(values):\n    return sorted(values)\n",
    "tools/far.py": "def shutdown_everything(flag):\n    return flag\n",
}


def neighbourhood(
    files: dict[str, str] = FILES,
    *,
    held_out: tuple[str, ...] = (),
    groups: dict[str, str] | None = None,
    histories: dict[str, History] | None = None,
) -> Neighbourhood:
    table = ModuleTable([("repo", path, "Python") for path in files])
    return Neighbourhood(
        [
            Neighbour(
                "repo",
                path,
                "Python",
                text,
                (groups or {}).get(path, path),
                path not in held_out,
                definitions_in(GRAMMARS.parse(text, "Python"), "Python", GRAMMARS),
                table.links(imports_in(text, "Python"), number),
                (histories or {}).get(path, History()),
            )
            for number, (path, text) in enumerate(files.items())
        ]
    )


def picks_for(
    around: Neighbourhood,
    text: str = TARGET,
    middle: str = "ledger.write_entry(account, amount)",
    settings: CorpusSettings = ALWAYS,
    counts: ContextCounts | None = None,
    number: int = 1,
) -> tuple[Pick, ...]:
    start = text.index(middle)
    hole = Hole("id", text, start, start + len(middle))
    target = around.target(number, (hole.start, hole.end))
    return choose_context(hole, target, around, settings, counts or ContextCounts())


def texts(around: Neighbourhood, picks: tuple[Pick, ...]) -> list[str]:
    return [around.text(pick.candidate) for pick in picks]


def test_the_definition_of_an_imported_name_is_given() -> None:
    around = neighbourhood()
    found = picks_for(around)
    assert found[0].candidate.origin == "definition"
    assert texts(around, found)[0].startswith("def open_ledger(path):")


def test_the_middle_changes_nothing_but_the_drop() -> None:
    around = neighbourhood()
    one = picks_for(around)
    middle = "ledger.write_entry(account, amount)"
    other_text = TARGET.replace(middle, "X" * len(middle))
    assert picks_for(around, other_text, "X" * len(middle)) == one


def test_a_piece_that_holds_the_middle_is_left_out_and_counted() -> None:
    middle = "ledger.write_entry(account, amount)"
    files = FILES | {"app/store.py": f"def open_ledger(path):\n    {middle}\n    return 1\n"}
    around = neighbourhood(files)
    counts = ContextCounts()
    found = picks_for(around, counts=counts)
    assert counts.dropped["holds_middle"] >= 1
    assert not any(middle in text for text in texts(around, found))


def test_training_rows_never_see_held_out_files() -> None:
    around = neighbourhood(held_out=("app/store.py",))
    assert all(pick.candidate.number != 0 for pick in picks_for(around))
    both = neighbourhood(held_out=("app/store.py", "app/post.py"))
    assert any(pick.candidate.number == 0 for pick in picks_for(both))


def test_near_duplicates_and_the_file_itself_are_never_seen() -> None:
    files = FILES | {"app/copy.py": TARGET + "\nEXTRA = 1\n"}
    groups = {"app/copy.py": "g", "app/post.py": "g"}
    around = neighbourhood(files, groups=groups)
    numbers = {pick.candidate.number for pick in picks_for(around, middle="return ledger")}
    assert not numbers & {1, 4}


def test_shares_items_and_budget() -> None:
    around = neighbourhood()
    none = CorpusSettings(context_none_share=1.0)
    counts = ContextCounts()
    assert picks_for(around, settings=none, counts=counts) == ()
    assert counts.as_json()["rows"] == {"none_by_share": 1}
    small = ALWAYS.model_copy(update={"context_max_tokens": 30})
    counts = ContextCounts()
    found = picks_for(around, settings=small, counts=counts)
    assert sum(len(text) for text in texts(around, found)) <= 100
    one = ALWAYS.model_copy(update={"context_items": 1})
    assert len(picks_for(around, settings=one)) == 1


def test_a_distractor_comes_from_a_far_file() -> None:
    around = neighbourhood()
    settings = ALWAYS.model_copy(update={"context_distractor_share": 1.0})
    counts = ContextCounts()
    found = picks_for(around, settings=settings, counts=counts)
    assert counts.items["distractor"] == 1
    assert found[-1].candidate.origin == "distractor"
    assert found[-1].score == 0.0


def test_the_same_question_has_the_same_answer() -> None:
    assert picks_for(neighbourhood()) == picks_for(neighbourhood())


@pytest.mark.parametrize(
    ("text", "middle", "expected"),
    [
        ("a = compute_total(1,\n   2)\n", "compute_total(1, 2)\n", False),
        (
            "x\nvalue = compute_total(first,\n    second)",
            "value = compute_total(first, second)",
            True,
        ),
        ("short", "short", False),
        ("f(tmpdir):\n    expected = 1", "dir):\n    expected =", True),
        ("one line here\ntwo line here\n", "one line here\ntwo line here\nthree is new", False),
        (
            "alpha = beta(1)\nother\ngamma = delta(2)\nmore\nepsilon = zeta(3)\nx\neta = theta(4)",
            "alpha = beta(1)\ngamma = delta(2)\nepsilon = zeta(3)\neta = theta(4)\n",
            True,
        ),
    ],
)
def test_what_holds_a_middle(text: str, middle: str, expected: bool) -> None:
    assert holds_middle(text, middle) is expected


def test_fusion_counts_definitions_twice_and_breaks_ties_by_place() -> None:
    window, other = Candidate("bm25", 1, 0, 9), Candidate("bm25", 0, 0, 9)
    named = Candidate("definition", 2, 0, 9)
    order = [candidate for candidate, _ in fuse([(named,), (window, other), (other, window)])]
    assert order == [named, other, window]


@given(st.text(alphabet="ab_\n \r\té\U0001f600", max_size=600))
def test_windows_join_to_the_text(text: str) -> None:
    windows = list(cut_windows(text))
    assert "".join(text[start:end] for start, end in windows) == text


def test_the_query_is_what_stands_near_and_never_the_middle() -> None:
    prefix = "far_away = 1\n" * 30 + "near_name = call_it("
    assert query_terms(prefix, ")\nbehind_name\n") == (
        "call_it",
        "near_name",
        "far_away",
        "behind_name",
    )


def test_an_empty_index_and_unknown_terms_find_nothing() -> None:
    assert len(WindowIndex([]).search(("name",)).windows) == 0
    assert len(WindowIndex(["alpha beta gamma"]).search(("delta",)).windows) == 0
    assert len(WindowIndex(["alpha beta gamma"]).search(("alpha", "beta", "gamma")).windows) == 1


def test_definitions_without_grammar_are_none() -> None:
    assert definitions_in(GRAMMARS.parse("x = 1", "Lua"), "Lua", GRAMMARS) == ()
    tree = GRAMMARS.parse(STORE, "Python")
    assert [item.name for item in definitions_in(tree, "Python", GRAMMARS)] == [
        "LedgerStore",
        "write_entry",
        "open_ledger",
    ]


@pytest.mark.parametrize(
    ("importer", "language", "line", "target"),
    [
        ("pkg/a.py", "Python", "from .b import thing\n", "pkg/b.py"),
        ("pkg/sub/a.py", "Python", "from ..b import thing\n", "pkg/b.py"),
        ("pkg/a.py", "Python", "from pkg import (\n    b,\n    c,\n)\n", "pkg/b.py"),
        ("main.py", "Python", "import pkg.b as short\n", "pkg/b.py"),
        ("main.py", "Python", "from pkg import thing\n", "pkg/__init__.py"),
        ("src/a.ts", "TypeScript", "import { x } from './b'\n", "src/b.ts"),
        ("src/x/a.ts", "TypeScript", "export * from '../b.js'\n", "src/b.ts"),
        ("src/a.js", "JavaScript", "const x = require('./lib')\n", "src/lib/index.js"),
        ("a/A.java", "Java", "import static com.acme.B;\n", "src/com/acme/B.java"),
        ("a/A.kt", "Kotlin", "import com.acme.B\n", "src/com/acme/B.kt"),
        ("x/A.php", "PHP", "use App\\Models\\User;\n", "lib/App/Models/User.php"),
        ("cmd/m.go", "Go", 'import (\n\t"acme.org/x/pkg/store"\n)\n', "pkg/store/s.go"),
        ("src/a.rs", "Rust", "use crate::walk::Walker;\n", "src/walk.rs"),
        ("src/a.c", "C", '#include "net/pool.h"\n', "include/net/pool.h"),
        ("lib/a.rb", "Ruby", "require_relative 'b'\n", "lib/b.rb"),
        ("bin/a.sh", "Bash", "source ./lib.sh\n", "bin/lib.sh"),
    ],
)
def test_imports_are_resolved(importer: str, language: str, line: str, target: str) -> None:
    paths = [importer, target, "unrelated/z.py"]
    table = ModuleTable([("repo", path, language) for path in paths])
    assert {number for _, number in table.links(imports_in(line, language), 0)} == {1}


def test_a_library_is_not_mistaken_for_a_file_of_its_name() -> None:
    table = ModuleTable([("repo", path, "Python") for path in ("pkg/a.py", "pkg/sub/logging.py")])
    assert table.links(imports_in("import logging\n", "Python"), 0) == ()
    assert imports_in("import x\n", "Lua") == ()
    assert module_parts(str(Path("a") / "b" / "index.ts")) == ("a", "b")


def test_a_plain_word_means_a_definition_only_where_it_is_imported() -> None:
    store = "class Box:\n    def path(self):\n        return 1\n\n\ndef label():\n    return 2\n"
    post = "import other\n\n\ndef post(path):\n    label = make(path)\n    return label\n"

    def origins(text: str) -> list[str]:
        around = neighbourhood({"app/store.py": store, "app/post.py": text})
        return [pick.candidate.origin for pick in picks_for(around, text, "return label")]

    assert "definition" not in origins(post)
    imported = post.replace("import other", "from app.store import label")
    assert origins(imported) == ["definition"]
