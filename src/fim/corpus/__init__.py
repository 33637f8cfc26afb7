"""Repositories in, leak-safe fill-in-the-middle examples out. Pure data work: no torch."""

from __future__ import annotations

from fim.corpus.build import BuiltCorpus, build_corpus
from fim.corpus.check import CorpusCheck, check_corpus, check_rows
from fim.corpus.documents import Document, DocumentReader, read_texts
from fim.corpus.explanation import FileExplanation, explain_file, rehearse_corpus
from fim.corpus.languages import language_of
from fim.corpus.manifest import MANIFEST_FILE
from fim.corpus.reasons import DropReason, HoleDropReason
from fim.corpus.scan import stdlib_root

__all__ = [
    "MANIFEST_FILE",
    "BuiltCorpus",
    "CorpusCheck",
    "Document",
    "DocumentReader",
    "DropReason",
    "FileExplanation",
    "HoleDropReason",
    "build_corpus",
    "check_corpus",
    "check_rows",
    "explain_file",
    "language_of",
    "read_texts",
    "rehearse_corpus",
    "stdlib_root",
]
