"""Fill-in-the-middle formats: the only place that spells a control token.

A format turns an example into ordered segments. Training rows, evaluation prompts, served prompts
and exports all come from the same format object, so they cannot drift apart.
"""

from __future__ import annotations

from fim.formats.base import (
    FimFormat,
    FormatSummary,
    ResolvedFormat,
)
from fim.formats.describe import WORKED_EXAMPLE, FormatDescription, describe_format
from fim.formats.record import FORMAT_FILE, FormatRecord, read_record, write_record
from fim.formats.registry import (
    build_formats,
    can_anchor,
    format_names,
    format_summaries,
    resolve_format,
    resolve_record,
)

__all__ = [
    "FORMAT_FILE",
    "WORKED_EXAMPLE",
    "FimFormat",
    "FormatDescription",
    "FormatRecord",
    "FormatSummary",
    "ResolvedFormat",
    "build_formats",
    "can_anchor",
    "describe_format",
    "format_names",
    "format_summaries",
    "read_record",
    "resolve_format",
    "resolve_record",
    "write_record",
]
