"""The parts of a response that matter, as libcurl delivers them."""

from __future__ import annotations

import re
from collections.abc import Callable

from netmon.http_checks import MAX_BODY
from netmon.probing.text_search import TextSearch
from netmon.probing.unpacking import Unpacker

REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""The statuses whose `Location` browsers follow."""

STOP = -1
"""The return value with which a callback ends its transfer."""
_STATUS = re.compile(rb"HTTP/(\S+) +(\d{3})", re.IGNORECASE)


class Response:
    """The parts of a response that matter, as they arrive.

    Args:
        search: makes the search in the body from the content type; None if nothing is looked for.
        collects: whether the body is kept.
        follows: whether the body of a redirect is not read.
    """

    def __init__(self, search: Callable[[str], TextSearch] | None, *, collects: bool, follows: bool) -> None:
        self._make_search = search
        self._collects = collects
        self._follows = follows
        self.body = bytearray()
        self.protocol = ""
        """That of the status line, such as HTTP/1.1."""
        self.headers: dict[str, str] = {}
        """By lower-case name; the values of a repeated header are joined by commas."""
        self._left = MAX_BODY
        self._headers: dict[str, bytes] = {}
        self.status: int | None = None
        self.search: TextSearch | None = None
        self._unpacker: Unpacker | None = None
        self.answered = False
        """Whether any of it has arrived."""
        self.begun = False
        """Whether its header is complete."""
        self.enough = False
        """Whether the transfer was ended because nothing more is of interest."""

    @property
    def location(self) -> bytes | None:
        """Where a redirect that is followed leads to."""
        redirects = self._follows and self.status in REDIRECTS
        return self._headers.get("location") or None if redirects else None

    @property
    def received(self) -> int:
        """Bytes of the body that have been unpacked; more than `MAX_BODY` if it is longer and kept."""
        return MAX_BODY - (self._left if self._collects else max(self._left, 0))

    def take_header(self, line: bytes) -> int | None:
        """Take one line of the header, or of the trailer."""
        if self._unpacker:
            return None  # the trailer
        self.answered = True
        if begins := _STATUS.match(line):
            self.status = int(begins[2])
            self.protocol = f"HTTP/{begins[1].decode('latin-1')}"
            self._headers.clear()
            self.headers.clear()
        elif line.strip():
            name, _, value = line.partition(b":")
            self._take_field(name.strip().decode("latin-1").lower(), value.strip())
        elif self.status is None or (100 <= self.status < 200 and self.status != 101):
            self.status = None  # an interim response
        elif self.location is not None or not (self._make_search or self._collects):
            self.begun = self.enough = True
            return STOP
        else:
            self.begun = True
            self.search = self._make_search(self._header("content-type")) if self._make_search else None
            self._unpacker = Unpacker(self._header("content-encoding"), self._take_unpacked)
        return None

    def take_body(self, part: bytes) -> int | None:
        """Take a part of the body."""
        if self._unpacker is None or not self._unpacker.feed(part):
            self.enough = True
            return STOP
        return None

    def _take_unpacked(self, part: bytes) -> bool:
        within = part[: max(self._left, 0)]
        if self.search and not self.search.found:
            self.search.feed(within)
        self._left -= len(part)
        if self._collects:
            self.body += within
            return self._left >= 0
        return not (self.search and self.search.found) and self._left > 0

    def _take_field(self, name: str, value: bytes) -> None:
        self._headers[name] = value
        try:
            text = value.decode()
        except UnicodeDecodeError:
            text = value.decode("latin-1")
        self.headers[name] = f"{self.headers[name]}, {text}" if name in self.headers else text

    def _header(self, name: str) -> str:
        return self._headers.get(name, b"").decode("latin-1")
