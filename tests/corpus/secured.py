"""TLS and HTTP/2."""

from __future__ import annotations

from tests.corpus import http2
from tests.corpus.answer import BROWSERS, PAGE, REFUSED, Act, Answer, Part, head, page, sends

OK = {":status": "200", "content-type": "text/html; charset=utf-8"}


def frames(*parts: Part) -> tuple[Part, ...]:
    """Frames after the settings of both sides."""
    return (http2.ACKNOWLEDGED, *parts)


def h2(
    name: str,
    *parts: Part,
    status: int | None = 200,
    error: str | None = None,
    text: bool | None = None,
    reason: str = "",
) -> Answer:
    """An answer over HTTP/2."""
    return Answer(name, sends(*frames(*parts)), status, error, text, reason, "h2")


TLS = (
    Answer("TLS 1.3", sends(page()), layer="tls"),
    Answer("TLS 1.2", sends(page()), layer="tls", certificate="tls-1.2"),
    Answer("certificate with intermediate", sends(page()), layer="tls", certificate="intermediate"),
    Answer("expired certificate", sends(page()), None, "tls", layer="tls", certificate="expired"),
    Answer("certificate of another name", sends(page()), None, "tls", layer="tls", certificate="other-name"),
    Answer(
        "certificate of an unknown authority", sends(page()), None, "tls", layer="tls", certificate="other-authority"
    ),
    Answer("TLS closed without notice", sends(head() + PAGE, 0.1, Act.SEVER), layer="tls"),
    Answer("TLS closed without notice, after all bytes", sends(page(), 0.1, Act.SEVER), layer="tls"),
    Answer("TLS closed without an answer", sends(), None, "disconnected", layer="tls"),
    Answer(
        "redirect to plain HTTP",
        lambda request: (
            head(f"Location: {request.other}/", "Content-Length: 0", "Connection: close", status="HTTP/1.1 302 Found"),
        ),
        layer="tls",
    ),
)

HTTP2 = (
    h2("HTTP/2", http2.headers(OK), http2.data(PAGE)),
    h2("HTTP/2 404", http2.headers(OK | {":status": "404"}), http2.data(PAGE), status=404, error="http_status"),
    h2("HTTP/2 103 first", http2.headers({":status": "103", "link": "</a>"}), http2.headers(OK), http2.data(PAGE)),
    h2("HTTP/2 without body", http2.headers(OK, end=True), text=False),
    h2("HTTP/2 without end", http2.headers(OK), http2.data(PAGE, end=False), Act.HOLD),
    h2("HTTP/2 reset", http2.reset(2), status=None, error="disconnected"),
    h2("HTTP/2 reset after the header", http2.headers(OK), http2.reset(2), text=False),
    h2("HTTP/2 refused stream", http2.reset(7), status=None, error="disconnected"),
    h2("HTTP/2 HTTP_1_1_REQUIRED", http2.reset(13), status=None, error="protocol"),
    h2("HTTP/2 GOAWAY", http2.goaway(0), status=None, error="disconnected"),
    h2("HTTP/2 with too few bytes", http2.headers(OK | {"content-length": "9999"}), http2.data(PAGE), reason=BROWSERS),
    h2(
        "HTTP/2 with Connection",
        http2.headers(OK | {"connection": "close"}),
        http2.data(PAGE),
        status=None,
        error="disconnected",
        reason=REFUSED,
    ),
    h2("HTTP/2 with upper case", http2.headers(OK | {"X-A": "b"}), http2.data(PAGE), status=None, error="disconnected"),
    h2(
        "HTTP/2 without status",
        http2.headers({"content-type": "text/html"}),
        http2.data(PAGE),
        status=None,
        error="protocol",
    ),
    h2("HTTP/1.1 instead of HTTP/2", page(), status=None, error="protocol"),
)
