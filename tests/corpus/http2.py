"""Frames of HTTP/2, written by hand: a library would send no wrong ones."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping

DATA, HEADERS, RESET, SETTINGS_TYPE, GOAWAY_TYPE = 0, 1, 3, 4, 7
END_STREAM, END_HEADERS = 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
STREAM = 1


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = STREAM) -> bytes:
    """A frame."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


SETTINGS = frame(SETTINGS_TYPE, stream=0)
ACKNOWLEDGED = frame(SETTINGS_TYPE, flags=1, stream=0)


def headers(fields: Mapping[str, str], *, end: bool = False) -> bytes:
    """The header of a response: every field is a literal without indexing (RFC 7541, 6.2.2)."""
    block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())
    return frame(HEADERS, block, END_HEADERS | (END_STREAM if end else 0))


def data(payload: bytes, *, end: bool = True) -> bytes:
    """A part of a body."""
    return frame(DATA, payload, END_STREAM if end else 0)


def reset(code: int) -> bytes:
    """The end of a stream with an error."""
    return frame(RESET, struct.pack(">I", code))


def goaway(code: int, last: int = 0) -> bytes:
    """The end of a connection."""
    return frame(GOAWAY_TYPE, struct.pack(">II", last, code), stream=0)


async def read_request(reader: asyncio.StreamReader) -> None:
    """Read until the header of the first request."""
    await reader.readexactly(len(PREFACE))
    while True:
        start = await reader.readexactly(9)
        await reader.readexactly(int.from_bytes(start[:3], "big"))
        if start[3] == HEADERS:
            return


def _text(text: str) -> bytes:
    value = text.encode()
    assert len(value) < 127
    return bytes([len(value)]) + value
