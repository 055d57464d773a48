"""What a secret looks like once it has been somewhere: as it is, in base64 with whatever stands around it, in a URL."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

CHUNK = 1 << 20
"""Bytes that are looked at in one go."""


class Stream(Protocol):
    """What can be read from, piece by piece."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes, none at the end."""


@dataclass(frozen=True)
class Needle:
    """One form of one secret; the bytes are not for showing."""

    secret: str
    form: str
    data: bytes = field(repr=False)


def secrets_of(folder: Path) -> dict[str, str]:
    """The values in a secrets folder by name; names of accounts (``…_user.txt``) are no secrets."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in {"README.md", ".gitignore"}]
    return {path.stem: path.read_text().strip() for path in files if not path.stem.endswith("_user")}


def needles(secrets: Mapping[str, str]) -> list[Needle]:
    """Every form of every secret, each once."""
    found: dict[bytes, Needle] = {}
    for name, value in secrets.items():
        assert len(value) >= 8, f"{name} is too short to be looked for"
        for form, text in _forms(value):
            found.setdefault(text.encode(), Needle(name, form, text.encode()))
    return list(found.values())


def _forms(value: str) -> Iterator[tuple[str, str]]:
    yield "as it is", value
    # What stands before it (`user:`) moves it by 0, 1 or 2 bytes against the groups of three that base64 encodes.
    for shift in range(3):
        encoded = b64encode(b"\0" * shift + value.encode()).decode()
        # Only the characters that are made of nothing but the value.
        text = encoded[-(-8 * shift // 6) : 8 * (shift + len(value.encode())) // 6]
        yield f"base64, shifted by {shift}", text
        yield f"base64 of URLs, shifted by {shift}", text.replace("+", "-").replace("/", "_")
    encoded = quote(value, safe="")
    yield "URL-encoded", encoded
    every = encoded.replace("-", "%2D").replace("_", "%5F")
    yield "URL-encoded", every
    yield "URL-encoded", every.replace("%2D", "%2d").replace("%5F", "%5f")


def search(wanted: Iterable[Needle], stream: Stream) -> tuple[set[Needle], int]:
    """The needles in a stream, those across two pieces too, and the number of bytes that it had."""
    missing = set(wanted)
    overlap = max((len(needle.data) for needle in missing), default=1) - 1
    likely = _likely(frozenset(needle.data for needle in missing))
    found: set[Needle] = set()
    size, tail = 0, b""
    while piece := stream.read(CHUNK):
        size += len(piece)
        text = tail + piece
        runs = b"".join(likely(text))
        found |= {needle for needle in missing - found if needle.data in runs}
        tail = text[-overlap:] if overlap else b""
    return found, size


@lru_cache(maxsize=1)  # of the same needles, for every file and every process
def _likely(needles: frozenset[bytes]) -> Callable[[bytes], Iterator[bytes]]:
    """What yields the parts of a text that can hold a needle, so that not all of it is gone through for each of them.

    Such a part is a run of bytes that occur in needles, as long as the shortest one at least.
    """
    letters = set(b"".join(needles))
    known = bytes(byte in letters for byte in range(256))
    run = b"\1" * min(map(len, needles), default=1)

    def likely(text: bytes) -> Iterator[bytes]:
        kinds = text.translate(known)
        begin = kinds.find(run)
        while begin >= 0:
            end = kinds.find(b"\0", begin)
            end = len(text) if end < 0 else end
            # With the byte behind it, which is in no needle: two runs are not one.
            yield text[begin : end + 1]
            begin = kinds.find(run, end)

    return likely
