"""Targets that are URLs, probed once: the normalised URL, and the key of its latest result.

The key is readable, stable and needs no escaping in a URL path: `scheme:host:port` for the root of a host, and
`scheme:host:port:DIGEST` for anything else (a path, a query, an IPv6 address), where DIGEST is the first 12 hexadecimal
digits of the SHA-256 of the normalised URL.

    https://Example.org         https:example.org:443
    http://app:3000/api/health  http:app:3000:83cd6829e3ce
"""

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address
from urllib.parse import quote, unquote

from netmon.hostnames import to_ascii

MAX_URL_LENGTH = 2048

_URL = re.compile(
    r"(?P<scheme>https?)://((?P<user>[^/?#\\:]*)(:(?P<password>[^/?#\\]*))?@)?"
    r"(?P<host>\[[^\]]*\]|[^/?#\\:@\[\]]*)(:(?P<port>\d{0,5}))?(?P<rest>[/?#\\].*)?",
    re.ASCII | re.DOTALL | re.IGNORECASE,
)

# The printable ASCII characters that a browser sends as they are typed (WHATWG, percent-encode sets).
_IN_PATH = "!$%&'()*+,-./:;=@[]|~_"
_IN_QUERY = "!$%&()*+,-./:;=?@[]\\^_`{|}~"
_PORTS = {"http": 80, "https": 443}
_DOT = re.compile(r"%2e", re.IGNORECASE)


class InvalidTargetError(ValueError):
    """The URL cannot be probed; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class WebUrl:
    """A URL of HTTP whose path and query are those that were typed."""

    scheme: str
    host: str
    """In ASCII and lower case, an IPv6 address without brackets."""
    port: int
    target: str
    """Path and query, byte for byte as typed; only what a browser encodes is encoded, and dots are resolved."""
    user: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, text: str) -> "WebUrl":
        """Parse an absolute URL.

        Raises:
            InvalidTargetError: `text` is not such a URL.
        """
        return _parsed(text)

    @property
    def origin(self) -> str:
        """Scheme, host and port, which is left out if it is the one of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def text(self) -> str:
        """The URL, without user and password."""
        return self.origin + self.target


@lru_cache(maxsize=1024)  # each probe parses its URL three times
def _parsed(text: str) -> WebUrl:
    if not re.match("https?://", text, re.IGNORECASE):
        raise InvalidTargetError("the URL must start with http:// or https://")
    if not (found := _URL.fullmatch(text)):
        raise _no_host()
    scheme = found["scheme"].lower()
    host, port = _host(found["host"]), int(found["port"] or _PORTS[scheme])
    if not 1 <= port <= 65535:
        raise _no_host()
    path, mark, query = (found["rest"] or "").partition("#")[0].partition("?")
    target = _without_dots(quote(path.replace("\\", "/"), safe=_IN_PATH)) + mark + quote(query, safe=_IN_QUERY)
    user, password = (unquote(each) if each else None for each in found.group("user", "password"))
    return WebUrl(scheme, host, port, target, user, password)


@dataclass(frozen=True, slots=True)
class UrlTarget:
    """A normalised URL and its key."""

    url: str
    key: str


def parse_target(text: str) -> UrlTarget:
    """Parse an absolute http or https URL.

    Raises:
        InvalidTargetError: `text` is not such a URL, or contains credentials, which would be stored and shown.
    """
    if len(text) > MAX_URL_LENGTH:
        raise InvalidTargetError(f"the URL is longer than {MAX_URL_LENGTH} characters")
    if not text.isprintable() or " " in text:
        raise InvalidTargetError("the URL contains whitespace or control characters")
    url = WebUrl.parse(text)
    if url.user is not None or url.password is not None:
        raise InvalidTargetError("the URL must not contain credentials")

    host = url.host.rstrip(".")
    key = f"{url.scheme}:{host.replace(':', '-').replace('%', '-')}:{url.port}"
    if url.target != "/" or ":" in host:
        key += f":{hashlib.sha256(url.text.encode()).hexdigest()[:12]}"
    return UrlTarget(url=url.text, key=key)


def _host(text: str) -> str:
    """The host in ASCII and lower case, an IPv6 address without brackets.

    Names in ASCII are not checked further, so that URLs which former releases have stored stay readable: the probe of
    one that is not valid fails.

    Raises:
        InvalidTargetError: `text` is not valid.
    """
    if not text or not text.isprintable() or " " in text:
        raise _no_host()
    try:
        if text.startswith("["):
            return str(IPv6Address(text[1:-1]))
        return text.lower() if text.isascii() else to_ascii(text)
    except ValueError:
        raise _no_host() from None


def _no_host() -> InvalidTargetError:
    return InvalidTargetError("the URL has no valid host or port")


def _without_dots(path: str) -> str:
    """The path from the root, without the segments `.` and `..`, which no client sends."""
    kept: list[str] = []
    segments = path.removeprefix("/").split("/")
    for number, segment in enumerate(segments, 1):
        plain = _DOT.sub(".", segment)
        if plain == "..":
            kept = kept[:-1]
        if plain not in (".", ".."):
            kept.append(segment)
        elif number == len(segments):
            kept.append("")
    return "/" + "/".join(kept)
