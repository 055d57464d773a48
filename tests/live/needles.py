"""The forms in which a secret can appear: plain, in base64 within other text, URL-encoded."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

CHUNK = 1 << 20
"""Bytes that are searched at a time."""


class Stream(Protocol):
    """A readable stream of bytes."""

    def read(self, size: int, /) -> bytes:
        """Read at most ``size`` bytes; none at the end."""


@dataclass(frozen=True)
class Needle:
    """One form of a secret; the bytes are hidden in the representation."""

    secret: str
    form: str
    data: bytes = field(repr=False)


def secrets_of(folder: Path) -> dict[str, str]:
    """The values in a secrets folder by name; names of accounts (``…_user.txt``) are not secrets."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in {"README.md", ".gitignore"}]
    return {path.stem: path.read_text().strip() for path in files if not path.stem.endswith("_user")}


def needles(secrets: Mapping[str, str]) -> list[Needle]:
    """Every form of every secret, without duplicates."""
    found: dict[bytes, Needle] = {}
    for name, value in secrets.items():
        assert len(value) >= 8, f"{name} is too short to search for"
        for form, text in _forms(value):
            found.setdefault(text.encode(), Needle(name, form, text.encode()))
    return list(found.values())


def _forms(value: str) -> Iterator[tuple[str, str]]:
    yield "plain", value
    # A prefix (`user:`) shifts the value by 0, 1 or 2 bytes against the groups of three bytes that base64 encodes.
    for shift in range(3):
        encoded = b64encode(b"\0" * shift + value.encode()).decode()
        # Only the characters that encode nothing but the value.
        text = encoded[-(-8 * shift // 6) : 8 * (shift + len(value.encode())) // 6]
        yield f"base64, shifted by {shift}", text
        yield f"base64 of URLs, shifted by {shift}", text.replace("+", "-").replace("/", "_")
    encoded = quote(value, safe="")
    yield "URL-encoded", encoded
    every = encoded.replace("-", "%2D").replace("_", "%5F")
    yield "URL-encoded", every
    yield "URL-encoded", every.replace("%2D", "%2d").replace("%5F", "%5f")


def search(needles: Iterable[Needle], stream: Stream) -> tuple[set[Needle], int]:
    """The needles in a stream, including those across two pieces, and the number of bytes read."""
    missing = set(needles)
    overlap = max((len(needle.data) for needle in missing), default=1) - 1
    candidates = _candidates(frozenset(needle.data for needle in missing))
    found: set[Needle] = set()
    size, tail = 0, b""
    while piece := stream.read(CHUNK):
        size += len(piece)
        text = tail + piece
        runs = b"".join(candidates(text))
        found |= {needle for needle in missing - found if needle.data in runs}
        tail = text[-overlap:] if overlap else b""
    return found, size


@lru_cache(maxsize=1)  # the same needles for every file and process
def _candidates(needles: frozenset[bytes]) -> Callable[[bytes], Iterator[bytes]]:
    """A function that yields the parts of a text that may contain a needle, so that only those are searched.

    Such a part is a run of bytes that occur in needles, at least as long as the shortest needle.
    """
    letters = set(b"".join(needles))
    known = bytes(byte in letters for byte in range(256))
    run = b"\1" * min(map(len, needles), default=1)

    def candidates(text: bytes) -> Iterator[bytes]:
        kinds = text.translate(known)
        begin = kinds.find(run)
        while begin >= 0:
            end = kinds.find(b"\0", begin)
            end = len(text) if end < 0 else end
            # With the next byte, which is in no needle, as a separator of the runs.
            yield text[begin : end + 1]
            begin = kinds.find(run, end)

    return candidates
