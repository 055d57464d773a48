"""Redirects, cookies and statuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.corpus.answer import BROWSERS, FOLLOWED, Act, Answer, Part, Request, Responder, head, page, sends


def to(location: str, *more: str, status: int = 302) -> bytes:
    """A redirect."""
    return head(
        f"Location: {location}", *more, "Content-Length: 0", "Connection: close", status=f"HTTP/1.1 {status} Go"
    )


def once(location: str | Callable[[Request], str], *more: str, status: int = 302, goal: str = "") -> Responder:
    """Redirect a request for `/`; serve the page at `goal`, or at any other target."""

    def respond(request: Request) -> Sequence[Part]:
        if request.target == "/":
            return (to(location if isinstance(location, str) else location(request), *more, status=status),)
        return (page(status="200 OK" if goal in ("", request.target) else "404 Not Found"),)

    return respond


def unless_cookie(wanted: str, *cookies: str, location: str = "/") -> Responder:
    """Set cookies and redirect, until a request has all that is wanted."""

    def respond(request: Request) -> Sequence[Part]:
        if all(each in request.head.lower() for each in wanted.split("; ")):
            return (page(),)
        return (to(location, *(f"Set-Cookie: {each}" for each in cookies)),)

    return respond


def hops(number: int) -> Responder:
    """So many redirects, then the page."""

    def respond(request: Request) -> Sequence[Part]:
        done = int(request.target.removeprefix("/favicon.ico").lstrip("/") or 0)
        return (page() if done == number else to(f"/{done + 1}"),)

    return respond


def status(code: int, *more: str, error: bool = True) -> Answer:
    """A page with a status."""
    response = page(b"<p>x</p>", *more, status=f"{code} X")
    return Answer(f"status {code}", sends(response), code, "http_status" if error else None)


REDIRECTS = (
    *(Answer(f"{code}", once("/a", status=code, goal="/a")) for code in (301, 302, 303, 307, 308)),
    Answer("300 with Location", once("/a", status=300), 300, reason=FOLLOWED),
    Answer("305 with Location", once("/a", status=305), 305, reason=FOLLOWED),
    Answer("304 with Location", once("/a", status=304), 304, reason=FOLLOWED),
    Answer("201 with Location", once("/a", status=201), 201),
    Answer("302 without Location", sends(page(status="302 Found")), 302, text=True),
    Answer("302 with an empty Location", once(""), 302),
    Answer("to another origin", once(lambda request: f"{request.other}/")),
    Answer("without scheme", once(lambda request: f"{request.other.removeprefix('http:')}/")),
    Answer("scheme in upper case", once(lambda request: request.other.replace("http", "HTTP"))),
    Answer("query only", once("?a", goal="/?a")),
    Answer("relative", once("a/b", goal="/a/b")),
    Answer("with dots", once("/x/../a/./b", goal="/a/b")),
    Answer("above the root", once("../../a", goal="/a")),
    Answer("with fragment", once("/a#b", goal="/a")),
    Answer("with space", once("/a b", goal="/a%20b")),
    Answer("with umlaut in UTF-8", once("/ä".encode().decode("latin-1"), goal="/%C3%A4"), reason=BROWSERS),
    Answer("with encoded characters", once("/a%2fb?c=AK%2f2026&t=01%3A00", goal="/a%2fb?c=AK%2f2026&t=01%3A00")),
    Answer("with quotes and braces in the query", once("/?a='{|}^`", goal="/?a=%27{|}^`"), reason=BROWSERS),
    Answer("with backslashes", once("\\a\\b", goal="/a/b"), reason=BROWSERS),
    Answer("with tab", once("/a\tb"), reason=BROWSERS),
    Answer("with one slash after the scheme", once("http:/a", goal="/a"), reason=BROWSERS),
    Answer(
        "two different Locations",
        once("/a", "Location: /b"),
        status=None,
        error="protocol",
        reason="as browsers: nobody knows which one is meant",
    ),
    Answer("two equal Locations", once("/a", "Location: /a")),
    Answer("to javascript:", once("javascript:alert(1)"), None, "protocol"),
    Answer("to file:", once("file:///etc/passwd"), None, "protocol"),
    Answer("to data:", once("data:text/html,x"), None, "protocol"),
    Answer("to mailto:", once("mailto:a@example.org"), None, "protocol"),
    Answer("to an unknown scheme", once("foo://example.org/"), None, "protocol"),
    Answer("to nowhere", once("http://"), None, "protocol"),
    Answer("to port 0", once("http://127.0.0.1:0/"), None, "protocol"),
    Answer("to a closed port", once("http://127.0.0.1:9/"), None, "connect"),
    Answer("with user and password", once(lambda request: request.other.replace("//", "//a:b@"))),
    Answer("loop", sends(to("/")), None, "redirects"),
    Answer("9 redirects", hops(9)),
    Answer("19 redirects", hops(19)),
    Answer("20 redirects", hops(20), reason="the Fetch standard allows 20; Chromium follows 19"),
    Answer("21 redirects", hops(21), None, "redirects", reason="the Fetch standard allows 20"),
    Answer(
        "redirect with an endless body",
        lambda request: (
            (page(),)
            if request.target != "/"
            else (head("Location: /a", status="HTTP/1.1 302 Found"), b"x" * 65536, Act.REPEAT)
        ),
    ),
    Answer(
        "redirect whose body never comes",
        lambda request: (
            (page(),)
            if request.target != "/"
            else (head("Location: /a", "Content-Length: 9", status="HTTP/1.1 302 Found"), Act.HOLD)
        ),
        reason=BROWSERS,
    ),
    Answer(
        "Refresh in the header",
        once("", "Refresh: 0; url=/a", status=200),
        200,
        text=False,
        reason="the page is there; what it loads itself is not followed",
    ),
)

COOKIES = (
    Answer("cookie and redirect to itself", unless_cookie("a=b", "a=b")),
    Answer("cookie with its path", unless_cookie("a=b", "a=b; Path=/")),
    Answer("cookie of another path", unless_cookie("a=b", "a=b; Path=/other"), None, "redirects"),
    Answer("cookie of another path, to there", unless_cookie("a=b", "a=b; Path=/other", location="/other")),
    Answer("cookie of another host", unless_cookie("a=b", "a=b; Domain=example.org"), None, "redirects"),
    Answer("expired cookie", unless_cookie("a=b", "a=b; Max-Age=0"), None, "redirects"),
    Answer("secure cookie over plain HTTP", unless_cookie("a=b", "a=b; Secure")),
    Answer(
        "cookie without name",
        unless_cookie("cookie: b", "b"),
        status=None,
        error="redirects",
        reason="libcurl knows no such cookies, which no framework sets",
    ),
    Answer("two cookies", unless_cookie("a=b; c=d", "a=b", "c=d")),
    Answer("cookie with quotes", unless_cookie('a="b c"', 'a="b c"')),
)

STATUSES = (
    status(202, error=False),
    status(206, error=False),
    status(400),
    status(401, 'WWW-Authenticate: Basic realm="x"'),
    status(403),
    status(404),
    status(408),
    status(421),
    status(425),
    status(429, "Retry-After: 1"),
    status(500),
    status(503, "Retry-After: 1"),
)
