"""Where a response ends, how it begins, and what its header may be."""

from __future__ import annotations

from tests.corpus.answer import BROWSERS, CHARSET, PAGE, REFUSED, STRICTER, Act, Answer, Part, head, page, sends

SIZE = f"Content-Length: {len(PAGE)}"
CHUNKED = "Transfer-Encoding: chunked"
CHUNK = b"%x\r\n%b\r\n" % (len(PAGE), PAGE)
END = b"0\r\n\r\n"


def lines(*names: str, body: bytes = PAGE) -> tuple[Part, ...]:
    """A response with these lines and nothing else."""
    return (head(*names) + body,)


LENGTH = (
    Answer("Content-Length", sends(page())),
    Answer("end of the connection", sends(*lines())),
    Answer("chunked", sends(head(CHUNKED) + CHUNK + END)),
    Answer("chunk with extension", sends(head(CHUNKED) + CHUNK.replace(b"\r", b";a=b\r", 1) + END)),
    Answer("chunked with trailer", sends(head(CHUNKED) + CHUNK + b"0\r\nX-Sum: 1\r\n\r\n")),
    Answer("chunk size with leading zeros", sends(head(CHUNKED) + b"0000" + CHUNK + END)),
    Answer("chunks with bare LF", sends(head(CHUNKED) + (CHUNK + END).replace(b"\r\n", b"\n"))),
    Answer("last chunk is missing", sends(head(CHUNKED) + CHUNK)),
    Answer("last chunk is missing, connection open", sends(head(CHUNKED) + CHUNK, Act.HOLD)),
    Answer("chunk size is no number", sends(head(CHUNKED) + b"zz\r\n" + PAGE), text=False),
    Answer("chunk size beyond 64 bits", sends(head(CHUNKED) + b"f" * 20 + b"\r\n" + PAGE), text=False),
    Answer("chunked, in upper case", sends(head("TRANSFER-ENCODING: CHUNKED") + CHUNK + END)),
    Answer("chunked twice", sends(head(CHUNKED, CHUNKED) + CHUNK + END)),
    Answer("chunked and Content-Length", sends(head("Content-Length: 3", CHUNKED) + CHUNK + END)),
    Answer("Content-Length and chunked, reversed", sends(head(CHUNKED, "Content-Length: 3") + CHUNK + END)),
    Answer("chunked in HTTP/1.0", sends(head(CHUNKED, status="HTTP/1.0 200 OK") + CHUNK + END)),
    Answer("Transfer-Encoding: identity", sends(*lines("Transfer-Encoding: identity", SIZE))),
    Answer(
        "unknown Transfer-Encoding",
        sends(*lines("Transfer-Encoding: foo")),
        status=None,
        error="protocol",
        reason="its body cannot be read, as curl finds too, after the header",
    ),
    Answer("equal Content-Lengths", sends(*lines(SIZE, SIZE))),
    Answer(
        "different Content-Lengths",
        sends(*lines(SIZE, "Content-Length: 3")),
        status=None,
        error="protocol",
        reason="as browsers: two lengths are how requests are smuggled",
    ),
    Answer("Content-Length as a list", sends(*lines(f"{SIZE}, {len(PAGE)}"))),
    Answer(
        "Content-Length is no number",
        sends(*lines("Content-Length: abc")),
        status=None,
        error="protocol",
        reason=REFUSED,
    ),
    Answer(
        "Content-Length is negative", sends(*lines("Content-Length: -1")), status=None, error="protocol", reason=REFUSED
    ),
    Answer(
        "Content-Length with plus sign",
        sends(*lines(f"Content-Length: +{len(PAGE)}")),
        status=None,
        error="protocol",
        reason=STRICTER,
    ),
    Answer("Content-Length is empty", sends(*lines("Content-Length:")), status=None, error="protocol", reason=REFUSED),
    Answer("Content-Length beyond 64 bits", sends(*lines(f"Content-Length: {2**64}"))),
    Answer("more bytes than Content-Length", sends(page() + b"more")),
    Answer("fewer bytes than Content-Length", sends(*lines("Content-Length: 9999"))),
    Answer("fewer bytes than Content-Length, connection open", sends(*lines("Content-Length: 9999"), Act.HOLD)),
    Answer("no body", sends(head("Content-Length: 0")), text=False),
    Answer("204 with body", sends(page(status="204 No Content")), status=204),
    Answer(
        "304",
        sends(head(status="HTTP/1.1 304 Not Modified")),
        status=304,
        reason="a browser shows nothing, but the target has answered",
    ),
    Answer("event stream", sends(head(kind="Content-Type: text/event-stream"), b"data: x\n\n", Act.HOLD), text=False),
    Answer("event stream without any event", sends(head(kind="Content-Type: text/event-stream"), Act.HOLD), text=False),
    Answer("endless body", sends(head(), PAGE * 1000, Act.REPEAT)),
    Answer("body one byte at a time", sends(head(SIZE), *(part for byte in PAGE for part in (bytes([byte]), 0.001)))),
    Answer("reset in the body", sends(head("Content-Length: 9999") + PAGE, 0.1, Act.RESET)),
)

BEGINNING = (
    Answer("HTTP/1.0", sends(head(status="HTTP/1.0 200 OK") + PAGE)),
    Answer("no reason", sends(head(SIZE, status="HTTP/1.1 200") + PAGE)),
    Answer("empty reason", sends(head(SIZE, status="HTTP/1.1 200 ") + PAGE)),
    Answer("reason in UTF-8", sends(page(status="200 Größe"))),
    Answer("reason of 20 kB", sends(page(status=f"200 {'x' * 20_000}"))),
    Answer("protocol in lower case", sends(head(SIZE, status="http/1.1 200 OK") + PAGE)),
    Answer(
        "HTTP/1.2", sends(head(SIZE, status="HTTP/1.2 200 OK") + PAGE), status=None, error="protocol", reason=REFUSED
    ),
    Answer("HTTP/3.7", sends(head(SIZE, status="HTTP/3.7 200 OK") + PAGE), reason=BROWSERS),
    Answer("HTTP/11", sends(head(SIZE, status="HTTP/11 200 OK") + PAGE), status=None, error="protocol", reason=REFUSED),
    Answer(
        "HTTP without version",
        sends(head(SIZE, status="HTTP 200 OK") + PAGE),
        status=None,
        error="protocol",
        reason=REFUSED,
    ),
    Answer(
        "two spaces before the status",
        sends(head(SIZE, status="HTTP/1.1  200 OK") + PAGE),
        status=None,
        error="protocol",
        reason=STRICTER,
    ),
    Answer("status of two digits", sends(page(status="20 OK")), status=None, error="protocol", reason=REFUSED),
    Answer("status of four digits", sends(page(status="2000 OK")), reason="libcurl reads the first three digits"),
    Answer("status 999", sends(page(status="999 X")), 999, "http_status"),
    Answer(
        "status 000",
        sends(page(status="000 X")),
        status=0,
        error="protocol",
        text=False,
        reason="a number below 100 is no status",
    ),
    Answer("status is no number", sends(page(status="OK")), status=None, error="protocol", reason=REFUSED),
    Answer("ICY", sends(head(status="ICY 200 OK") + PAGE), status=None, error="protocol", reason=REFUSED),
    Answer("HTTP/0.9, a body only", sends(PAGE), status=None, error="protocol"),
    Answer("SSH", sends(b"SSH-2.0-OpenSSH_9.2\r\n"), None, "protocol"),
    Answer("empty line first", sends(b"\r\n" + page()), status=None, error="protocol", reason=REFUSED),
    Answer("garbage first", sends(b"abc" + page()), status=None, error="protocol", reason=REFUSED),
    Answer("nothing", sends(), None, "disconnected"),
    Answer("reset", sends(Act.RESET), None, "disconnected"),
    Answer("no answer", sends(Act.HOLD), None, "timeout"),
    Answer("status line only", sends(b"HTTP/1.1 200 OK\r\n"), text=False),
    Answer("half a status line", sends(b"HTTP/1.1 20"), status=None, error="disconnected", reason=REFUSED),
    Answer("head one byte at a time", sends(*(part for byte in page() for part in (bytes([byte]), 0.001)))),
    Answer("100 first", sends(b"HTTP/1.1 100 Continue\r\n\r\n" + page())),
    Answer("103 first", sends(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + page())),
    Answer("ten times 102 first", sends(b"HTTP/1.1 102 Processing\r\n\r\n" * 10 + page())),
    Answer(
        "101 without request",
        sends(b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + page()),
        status=101,
        text=True,
        reason="the status is the one that was sent",
    ),
    Answer("100 only", sends(b"HTTP/1.1 100 Continue\r\n\r\n", Act.HOLD), None, "timeout"),
)

HEADER = (
    Answer("bare LF", sends(page().replace(b"\r\n", b"\n"))),
    Answer("line without colon", sends(*lines("nonsense", SIZE)), status=None, error="protocol", reason=REFUSED),
    Answer("space before the colon", sends(*lines("X-A : b", SIZE))),
    Answer("space before the colon of Content-Length", sends(*lines(SIZE.replace(":", " :")))),
    Answer("folded line", sends(*lines("X-A: b\r\n  c", SIZE))),
    Answer("first line is folded", sends(head(SIZE, kind=" X-A: b") + PAGE), reason=BROWSERS),
    Answer("empty name", sends(*lines(": b", SIZE))),
    Answer("name with spaces and brackets", sends(*lines("X (A): b", SIZE))),
    Answer("null in a value", sends(*lines("X-A: b\0c", SIZE)), status=None, error="protocol"),
    Answer("bare CR in a value", sends(*lines("X-A: b\rc", SIZE)), status=None, error="protocol", reason=STRICTER),
    Answer("control characters in a value", sends(*lines("X-A: \x01\x7f", SIZE))),
    Answer("value in Latin-1", sends(*lines("X-A: größe", SIZE))),
    Answer("200 lines", sends(*lines(*(f"X-{number}: b" for number in range(200)), SIZE))),
    Answer("line of 20 kB", sends(*lines(f"X-A: {'b' * 20_000}", SIZE))),
    Answer("line of 90 kB", sends(*lines(f"X-A: {'b' * 90_000}", SIZE))),
    Answer(
        "header of 400 kB",
        sends(*lines(*(f"X-{number}: {'b' * 1000}" for number in range(400)), SIZE)),
        status=None,
        error="protocol",
    ),
    Answer("endless header", sends(b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n" * 1000, Act.REPEAT), None, "protocol"),
    Answer("end of the connection in the header", sends(head(SIZE)[:-2]), text=False, reason=BROWSERS),
    Answer("two different Content-Types", sends(*lines("Content-Type: text/plain", SIZE)), reason=CHARSET),
    Answer("Connection: upgrade", sends(*lines("Connection: upgrade", "Upgrade: h2c", SIZE))),
    Answer("Connection: keep-alive without length", sends(*lines("Connection: keep-alive"))),
)
