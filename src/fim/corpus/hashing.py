"""Stable hashes: the same text gives the same number on every machine and in every run."""

from __future__ import annotations

import hashlib


def stable_hash(*parts: str | int) -> str:
    """Return 16 hexadecimal digits of the parts, order and boundaries included."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        content = str(part).encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()


def stable_fraction(*parts: str | int) -> float:
    """Return a number in [0, 1) that depends on nothing but the parts."""
    return int(stable_hash(*parts), 16) / 2**64


def content_hash(text: str) -> str:
    """Return the hash of a text's exact content."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def normalised_hash(text: str) -> str:
    """Return the hash of a text whose runs of white space count as one space."""
    return content_hash(" ".join(text.split()))
