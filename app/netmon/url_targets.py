"""Targets that are URLs, probed once: the normalised URL, and the key of its latest result.

The key is readable, stable and needs no escaping in a URL path: `scheme:host:port` for the root of a host, and
`scheme:host:port:DIGEST` for anything else (a path, a query, an IPv6 address), where DIGEST is the first 12 hexadecimal
digits of the SHA-256 of the normalised URL.

    https://Example.org         https:example.org:443
    http://app:3000/api/health  http:app:3000:83cd6829e3ce
"""

import hashlib
from dataclasses import dataclass

from yarl import URL

MAX_URL_LENGTH = 2048


class InvalidTargetError(ValueError):
    """The URL cannot be probed; the message gives the reason."""


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
    try:
        url = URL(text)
        port = url.port
    except ValueError as error:
        raise InvalidTargetError(f"not a valid URL: {error}") from None
    if url.scheme not in ("http", "https"):
        raise InvalidTargetError("the URL must start with http:// or https://")
    if not url.raw_host or port == 0:
        raise InvalidTargetError("the URL has no valid host or port")
    if url.raw_user is not None or url.raw_password is not None:
        raise InvalidTargetError("the URL must not contain credentials")

    normalised = url.with_path(url.raw_path or "/", encoded=True, keep_query=True)
    host = url.raw_host.rstrip(".")
    key = f"{url.scheme}:{host.replace(':', '-').replace('%', '-')}:{port}"
    if normalised.raw_path_qs != "/" or ":" in host:
        key += f":{hashlib.sha256(str(normalised).encode()).hexdigest()[:12]}"
    return UrlTarget(url=str(normalised), key=key)
