"""Licences by tag, by file and by policy; marks of .gitattributes."""

from __future__ import annotations

import pytest

from fim.corpus.attributes import GENERATED, VENDORED, read_attributes
from fim.corpus.gates import compile_patterns, path_reason
from fim.corpus.licence import (
    LicenceTable,
    is_denied,
    is_licence_file,
    licence_of_text,
    tagged_licence,
)
from fim.corpus.reasons import DropReason

MIT = "MIT License\n\nPermission is hereby granted, free of charge, to any person\nobtaining a copy"
APACHE = "                 Apache License\n           Version 2.0, January 2004\n"
GPL = "GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007"
BSD = "Redistributions in binary form must reproduce ...\n* Neither the name of the holder"


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        ("// SPDX-License-Identifier: MIT\nint x;", "MIT"),
        ("/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */", None),
        ("# SPDX-License-Identifier: (MIT OR Apache-2.0)\n", "(MIT OR Apache-2.0)"),
        ("no tag", ""),
    ],
)
def test_tags(text: str, licence: str | None) -> None:
    found = tagged_licence(text)
    assert found == (licence if licence is not None else "GPL-2.0-only WITH Linux-syscall-note")


@pytest.mark.parametrize(
    ("text", "licence"),
    [
        (MIT, "MIT"),
        (APACHE, "Apache-2.0"),
        (GPL, "GPL-3.0"),
        (BSD, "BSD-3-Clause"),
        ("Redistributions in binary form must reproduce", "BSD-2-Clause"),
        ("SPDX-License-Identifier: ISC", "ISC"),
        ("my own words", ""),
    ],
)
def test_texts(text: str, licence: str) -> None:
    assert licence_of_text(text) == licence


@pytest.mark.parametrize(
    "path", ["LICENSE", "a/LICENCE.md", "LICENSE-MIT", "COPYING", "UNLICENSE", "LICENSE.txt"]
)
def test_licence_files(path: str) -> None:
    assert is_licence_file(path)


@pytest.mark.parametrize("path", ["license.py", "licenses.json", "my_license", "LICENSE.html"])
def test_other_files(path: str) -> None:
    assert not is_licence_file(path)


def test_the_nearest_folder_counts_and_two_files_are_a_choice() -> None:
    table = LicenceTable(
        {"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE, "lib/COPYING": GPL, "x/LICENSE": "?"}
    )
    assert table.of("src/a.rs") == "Apache-2.0 OR MIT"
    assert table.of("lib/deep/a.c") == "GPL-3.0"
    assert table.of("x/a.c") == "Apache-2.0 OR MIT"
    assert LicenceTable({}).of("a.c") == ""


@pytest.mark.parametrize(
    ("licence", "denied", "expected"),
    [
        ("GPL-3.0-or-later", ["GPL-*"], True),
        ("LGPL-2.1", ["GPL-*"], False),
        ("MIT OR GPL-2.0", ["GPL-*"], False),
        ("MIT AND GPL-2.0", ["GPL-*"], True),
        ("(GPL-2.0 OR AGPL-3.0)", ["GPL-*", "AGPL-*"], True),
        ("", ["unknown"], True),
        ("", ["GPL-*"], False),
        ("GPL-3.0", [], False),
    ],
)
def test_policy(licence: str, denied: list[str], expected: bool) -> None:
    assert is_denied(licence, denied) is expected


def test_attributes_stand_above_the_built_in_rules() -> None:
    names = ("a.gen.py", "deep/a.gen.py", "ours/a.py", "vendor/mine/a.py", "vendor/other/a.py")
    attributes = read_attributes(
        {
            ".gitattributes": (
                b"# marks\n*.gen.py linguist-generated\nours/** linguist-vendored=true\n"
                b"vendor/mine/** -linguist-vendored\nx_pb2.py linguist-generated=false\n*.py text\n"
            ),
            "deep/.gitattributes": b"a.gen.py -linguist-generated\n",
        },
        (*names, "x_pb2.py", "y_pb2.py", "plain.py"),
    )
    none = compile_patterns([])
    assert path_reason("a.gen.py", none, attributes) is DropReason.GENERATED
    assert path_reason("deep/a.gen.py", none, attributes) is None
    assert path_reason("ours/a.py", none, attributes) is DropReason.VENDORED
    assert path_reason("vendor/mine/a.py", none, attributes) is None
    assert path_reason("vendor/other/a.py", none, attributes) is DropReason.VENDORED
    assert path_reason("x_pb2.py", none, attributes) is None
    assert path_reason("y_pb2.py", none, attributes) is DropReason.GENERATED
    assert attributes.value("plain.py", VENDORED) is None
    assert attributes.value("a.gen.py", GENERATED) is True
