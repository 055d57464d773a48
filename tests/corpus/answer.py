"""The form of an answer: what a server does after it has read the head of a request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal

TEXT = "größe"
"""The text that a page has, and that is looked for in it."""
PAGE = f"<!doctype html><title>x</title><p>{TEXT}</p>".encode()


BROWSERS = "as browsers"
REFUSED = "as curl, which does not guess what is meant"
STRICTER = "the libcurl of the probe is newer, and refuses it"
FOLLOWED = "as browsers, which follow 301, 302, 303, 307 and 308 only"
CHARSET = "programs send UTF-8 without naming it: without a charset, UTF-8 and Windows-1252 are tried"


class Act(Enum):
    """What a server does besides sending bytes and pauses."""

    HOLD = "keep the connection open"
    RESET = "reset the connection"
    SEVER = "close without the notice that TLS has"
    REPEAT = "send the part before again and again"


Part = bytes | float | Act
"""Bytes are sent, a number is a pause in seconds."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a server knows of a request."""

    target: str
    """The path with its query."""
    head: str
    url: str
    """The address of this server, without a slash at its end."""
    other: str
    """The address of another server, which has a page at any path."""


Responder = Callable[[Request], Sequence[Part]]
Layer = Literal["plain", "tls", "h2"]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, and the verdict of the probe on it.

    Args:
        name: unique, a few words.
        respond: the parts of the answer.
        status: the status that the probe reports, of a response that it accepts as HTTP; None if there is none.
        error: the code of the failure if nothing is asked of the body; None if the target is up.
        text: whether the probe finds `TEXT`; by default, whether it gets a response with status 200.
        reason: why, if curl and Chromium differ, or if the probe differs from both.
        layer: what the answer is sent over.
        certificate: of a server with TLS; the name of a function of `tests.corpus.server`.
    """

    name: str
    respond: Responder
    status: int | None = 200
    error: str | None = None
    text: bool | None = None
    reason: str = ""
    layer: Layer = "plain"
    certificate: str = "valid"

    @property
    def found(self) -> bool:
        """Whether the probe finds `TEXT`."""
        return self.status == 200 if self.text is None else self.text


def sends(*parts: Part) -> Responder:
    """Send the same parts to every request."""
    return lambda _request: parts


def page(body: bytes = PAGE, *headers: str, status: str = "200 OK", kind: str = "text/html; charset=utf-8") -> bytes:
    """A legal response."""
    lines = [f"HTTP/1.1 {status}", *([f"Content-Type: {kind}"] if kind else []), *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def head(*lines: str, status: str = "HTTP/1.1 200 OK", kind: str = "Content-Type: text/html; charset=utf-8") -> bytes:
    """The head of a response as it is given, with a line of the content type."""
    return "\r\n".join([status, *([kind] if kind else []), *lines, "", ""]).encode("latin-1", "surrogateescape")
