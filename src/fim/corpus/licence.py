"""Which licence a file stands under: its own SPDX tag, else the nearest licence file above it."""

from __future__ import annotations

import re
from collections import defaultdict
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

UNKNOWN = "unknown"
_HEAD_CHARS = 3000
_MAX_LICENCE_BYTES = 200_000
_TAG = re.compile(r"SPDX-License-Identifier:[ \t]*(?P<licence>[A-Za-z0-9 .+()-]{2,120})")
_LICENCE_FILE = re.compile(
    r"(?i)^(?:(?:un)?licen[sc]es?|copying|mit-licen[sc]e)(?:[-_.][\w+-]*(?:\.\d)?)?(?:\.(?:txt|md|rst))?$"
)
_CODE_ENDINGS = re.compile(
    r"(?i)\.(?:py|[cm]?[jt]sx?|go|rs|java|rb|php|c|h|cs|kt|sh|html|json|toml)$"
)
_SPACE = re.compile(r"[\s*#/]+")
_RULES: tuple[tuple[str, str], ...] = (
    ("AGPL-3.0", "gnu affero general public license version 3"),
    ("LGPL-3.0", "gnu lesser general public license version 3"),
    ("LGPL-2.1", "gnu lesser general public license version 2.1"),
    ("GPL-3.0", "gnu general public license version 3"),
    ("GPL-2.0", "gnu general public license version 2"),
    ("Apache-2.0", "apache license version 2.0"),
    ("MPL-2.0", "mozilla public license version 2.0"),
    ("EPL-2.0", "eclipse public license - v 2.0"),
    ("BSL-1.0", "boost software license - version 1.0"),
    ("CC0-1.0", "cc0 1.0 universal"),
    ("0BSD", "bsd zero clause license"),
    ("Unlicense", "this is free and unencumbered software released into the public domain"),
    ("Zlib", "the origin of this software must not be misrepresented"),
    ("PSF-2.0", "python software foundation license version 2"),
    ("BSD-3-Clause", "neither the name of"),
    ("BSD-2-Clause", "redistributions in binary form must reproduce"),
    ("ISC", "permission to use, copy, modify, and/or distribute this software for any purpose"),
    ("MIT", "permission is hereby granted, free of charge, to any person obtaining a copy"),
)


def tagged_licence(text: str) -> str:
    """Return the SPDX expression in the head of a text, empty where there is none."""
    match = _TAG.search(text, 0, _HEAD_CHARS)
    return " ".join(match["licence"].split()).strip(" .-") if match else ""


def licence_of_text(text: str) -> str:
    """Return the SPDX id of a licence's text, empty where no rule knows it."""
    tagged = tagged_licence(text)
    if tagged:
        return tagged
    plain = _SPACE.sub(" ", text.lower()).replace(", version", " version")
    return next((name for name, phrase in _RULES if phrase in plain), "")


def is_licence_file(path: str) -> bool:
    """Tell whether a file's name says that it holds a licence.

    >>> is_licence_file("LICENSE-MIT")
    True
    """
    name = PurePosixPath(path).name
    return _LICENCE_FILE.match(name) is not None and not _CODE_ENDINGS.search(name)


class LicenceTable:
    """The licences of the folders of one root.

    Args:
        texts: The text of each licence file by its path.
    """

    def __init__(self, texts: Mapping[str, str]) -> None:
        by_folder: dict[PurePosixPath, set[str]] = defaultdict(set)
        for path, text in texts.items():
            licence = licence_of_text(text)
            if licence:
                by_folder[PurePosixPath(path).parent].add(licence)
        self._by_folder = {
            folder: " OR ".join(sorted(licences)) for folder, licences in by_folder.items()
        }

    def of(self, path: str) -> str:
        """Return the licence of the nearest folder above a file, empty where none is known."""
        if not self._by_folder:
            return ""
        folders = PurePosixPath(path).parents
        return next((self._by_folder[item] for item in folders if item in self._by_folder), "")


def read_licences(texts: Mapping[str, bytes]) -> LicenceTable:
    """Return the licences that the licence files among some files tell.

    Args:
        texts: Content of files by path.
    """
    return LicenceTable(
        {
            path: content.decode("utf-8", "replace")
            for path, content in texts.items()
            if is_licence_file(path) and len(content) <= _MAX_LICENCE_BYTES
        }
    )


def is_denied(licence: str, denied: Sequence[str]) -> bool:
    """Tell whether every choice that a licence offers is denied.

    ``MIT OR GPL-2.0`` offers two; a choice of several licences at once is denied with any of them.

    >>> is_denied("GPL-3.0-or-later", ["GPL-*"]), is_denied("MIT OR GPL-2.0", ["GPL-*"])
    (True, False)
    """
    if not denied:
        return False
    choices = re.split(r"\s+OR\s+", re.sub(r"[()]", " ", licence).strip() or UNKNOWN)
    return all(
        any(
            fnmatchcase(part.strip().lower(), pattern.lower())
            for part in re.split(r"\s+AND\s+", choice)
            for pattern in denied
        )
        for choice in choices
    )
