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
from typing import Self
from urllib.parse import quote, unquote

from yarl import URL

MAX_URL_LENGTH = 2048

# The printable ASCII characters that a browser sends as they are typed (WHATWG, percent-encode sets).
_IN_PATH = "!$%&'()*+,-./:;=@[]|~_"
_IN_QUERY = "!$%&()*+,-./:;=?@[]\\^_`{|}~"
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
    def parse(cls, text: str) -> Self:
        """Parse an absolute URL.

        Raises:
            InvalidTargetError: `text` is not such a URL.
        """
        try:
            url = URL(text)
            port = url.port
        except ValueError:
            raise InvalidTargetError("the URL has no valid host or port") from None
        if url.scheme not in ("http", "https"):
            raise InvalidTargetError("the URL must start with http:// or https://")
        if not url.raw_host or not port or not (url.raw_host.isascii() and url.raw_host.isprintable()):
            raise InvalidTargetError("the URL has no valid host or port")
        rest = re.sub(r"^[^:]*://[^/?#\\]*", "", text.partition("#")[0])
        path, mark, query = rest.partition("?")
        target = _without_dots(quote(path.replace("\\", "/"), safe=_IN_PATH)) + mark + quote(query, safe=_IN_QUERY)
        user, password = (None if each is None else unquote(each) for each in (url.raw_user, url.raw_password))
        return cls(url.scheme, url.raw_host, port, target, user, password)

    @property
    def origin(self) -> str:
        """Scheme, host and port, which is left out if it is the one of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == {"http": 80, "https": 443}[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def text(self) -> str:
        """The URL, without user and password."""
        return self.origin + self.target


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
