"""Plain data across pipes: the only thing that passes between an answer and what checks it."""

from __future__ import annotations

import json
import os
from typing import Any

MAX_MESSAGE_BYTES = 16 * 2**20
MAX_DEPTH = 200
SIMPLE: tuple[tuple[type, str, Any], ...] = (
    (int, "i", lambda value: str(int.__index__(value))),
    (float, "f", lambda value: float.hex(float.__add__(value, 0.0))),
    (complex, "c", lambda value: [float.hex(part) for part in (value.real, value.imag)]),
    (str, "s", str.__str__),
    (bytes, "b", bytes.hex),
)
HOLDERS: tuple[tuple[type, str, Any], ...] = (
    (list, "l", list.__iter__),
    (tuple, "t", tuple.__iter__),
    (set, "e", set.__iter__),
    (frozenset, "z", frozenset.__iter__),
)


class Opaque:
    """Something that is not plain data: equal to nothing else, and without a truth value."""

    def __bool__(self) -> bool:
        """Refuse to be true or false.

        Raises:
            TypeError: Always.
        """
        raise TypeError("the answer returned something that is not plain data")


def encode(value: object, depth: int = 0) -> list[Any]:
    """Return JSON-ready data for plain values; anything else becomes opaque."""
    if depth > MAX_DEPTH:
        return ["o"]
    if value is None or value is True or value is False:
        return ["v", value]
    for kind, mark, simple in SIMPLE:
        if isinstance(value, kind):
            return [mark, simple(value)]
    for kind, mark, parts in HOLDERS:
        if isinstance(value, kind):
            return [mark, [encode(item, depth + 1) for item in parts(value)]]
    if isinstance(value, dict):
        pairs = dict.items(value)
        return ["d", [[encode(k, depth + 1), encode(v, depth + 1)] for k, v in pairs]]
    return ["o"]


def decode(data: list[Any]) -> object:
    """Return the plain value of encoded data."""
    mark, *rest = data
    if mark == "o":
        return Opaque()
    if mark == "d":
        return {decode(key): decode(value) for key, value in rest[0]}
    simple = {
        "v": lambda: rest[0],
        "i": lambda: int(rest[0]),
        "f": lambda: float.fromhex(rest[0]),
        "c": lambda: complex(*map(float.fromhex, rest[0])),
        "s": lambda: str(rest[0]),
        "b": lambda: bytes.fromhex(rest[0]),
        "l": lambda: [decode(item) for item in rest[0]],
        "t": lambda: tuple(decode(item) for item in rest[0]),
        "e": lambda: {decode(item) for item in rest[0]},
        "z": lambda: frozenset(decode(item) for item in rest[0]),
    }
    made: object = simple[mark]()  # type: ignore[no-untyped-call]
    return made


def send(handle: int, message: object) -> None:
    """Write one message: its length in eight bytes, then JSON."""
    body = json.dumps(message).encode("ascii")
    data = len(body).to_bytes(8, "big") + body
    while data:
        data = data[os.write(handle, data) :]


def receive(handle: int) -> Any:
    """Read one message.

    Raises:
        EOFError: The other side is gone or says too much.
    """
    size = int.from_bytes(_read(handle, 8), "big")
    if size > MAX_MESSAGE_BYTES:
        raise EOFError("message too large")
    return json.loads(_read(handle, size))


def _read(handle: int, size: int) -> bytes:
    parts = []
    while size:
        part = os.read(handle, min(size, 1 << 20))
        if not part:
            raise EOFError("pipe closed")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
