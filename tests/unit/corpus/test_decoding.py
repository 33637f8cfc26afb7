"""Bytes become text: marks, declared encodings, old line ends, and what is told of them."""

from __future__ import annotations

import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fim.corpus.decoding import Decoded, read_text
from fim.corpus.reasons import DropReason

CODE = (
    "class A {\n" + "".join(f"  int m{n}(int a) {{ return a + {n}; }}\n" for n in range(9)) + "}\n"
)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"a\0b", DropReason.BINARY),
        (b"\0\1\2\3" * 30, DropReason.BINARY),
        (b"caf\xe9 = 1\n", DropReason.NOT_UTF8),
        (b"version https://git-lfs.github.com/spec/v1\noid", DropReason.LFS_POINTER),
        (b"# coding: utf-99\n\xe9\n", DropReason.WRONG_ENCODING),
        (b"# coding: ascii\n\xe9\n", DropReason.WRONG_ENCODING),
        (b"# coding: unicode_escape\n\xe9\n", DropReason.WRONG_ENCODING),
        (b"# coding: rot13\n\xe9\n", DropReason.WRONG_ENCODING),
        (codecs.BOM_UTF8 + b"\xe9", DropReason.WRONG_ENCODING),
    ],
)
def test_what_has_no_text(content: bytes, reason: DropReason) -> None:
    assert read_text("a.py", content) == reason


@pytest.mark.parametrize(
    ("head", "encoding", "told"),
    [
        ("# -*- coding: latin-1 -*-\n", "latin-1", "latin-1"),
        ("#!/usr/bin/python\n# vim: set fileencoding=iso-8859-15 :\n", "iso8859-15", "iso8859-15"),
        ("# coding=cp1252\n", "cp1252", "cp1252"),
        ("// -*- mode: c++; coding: latin-1-unix -*-\n", "latin-1", "latin-1"),
        ("/* -*- coding: iso-8859-1; -*- */\n", "latin-1", "latin-1"),
        ('<?xml version="1.0" encoding="ISO-8859-1"?>\n', "latin-1", "latin-1"),
        ('<html><head><meta charset="windows-1252">\n', "cp1252", "cp1252"),
        (
            '<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">\n',
            "latin-1",
            "latin-1",
        ),
        ('@charset "iso-8859-1";\n', "latin-1", "latin-1"),
        (";; -*- coding: latin-1 -*-\n", "latin-1", "latin-1"),
    ],
)
def test_declared_encodings(head: str, encoding: str, told: str) -> None:
    text = head + "größe = 'é'\n" + "x = 1\n" * 30
    assert read_text("a.py", text.encode(encoding)) == Decoded(text, "Python", told)


def test_a_declaration_at_the_end_counts() -> None:
    text = "größe = 1\n" * 30 + "# vim: set fenc=latin1 :\n"
    assert read_text("a.py", text.encode("latin-1")) == Decoded(text, "Python", "latin-1")


@pytest.mark.parametrize("encoding", ["shift_jis", "euc_jp", "iso2022_jp", "gb18030", "koi8-r"])
def test_encodings_of_other_scripts(encoding: str) -> None:
    word = "привет" if encoding == "koi8-r" else "漢字"
    text = f"# -*- coding: {encoding} -*-\nx = '{word}'\n"
    found = read_text("a.py", text.encode(encoding))
    assert isinstance(found, Decoded)
    assert (found.text, found.encoding) == (text, codecs.lookup(encoding).name)


def test_utf8_is_believed_before_a_declaration() -> None:
    text = "# coding: latin-1\nx = 'é'\n"
    assert read_text("a.py", text.encode()) == Decoded(text, "Python")


@pytest.mark.parametrize(
    ("mark", "encoding", "told"),
    [
        (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
        (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32-be", "utf-32"),
        (codecs.BOM_UTF8, "utf-8", ""),
        (b"", "utf-16-le", "utf-16"),
        (b"", "utf-16-be", "utf-16"),
    ],
)
def test_byte_order_marks(mark: bytes, encoding: str, told: str) -> None:
    text = CODE + "// größe\r\n"
    assert read_text("a.cs", mark + text.encode(encoding)) == Decoded(text, "C#", told)


def test_carriage_returns_alone_become_line_feeds() -> None:
    found = read_text("a.cs", CODE.replace("\n", "\r").encode())
    assert found == Decoded(CODE, "C#", had_returns_only=True)
    mixed = CODE.replace("\n", "\r\n")
    assert read_text("a.cs", mixed.encode()) == Decoded(mixed, "C#")


@given(st.binary(max_size=200))
def test_any_bytes_have_an_answer(content: bytes) -> None:
    found = read_text("a.py", content)
    assert isinstance(found, Decoded | DropReason)
    if isinstance(found, Decoded):
        assert "\0" not in found.text


@given(st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0\r\ufeff")))
def test_utf8_text_is_returned_as_it_is(text: str) -> None:
    assert read_text("a.py", text.encode()) == Decoded(text, "Python")
