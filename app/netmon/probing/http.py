"""An HTTP request with limits on redirects and bytes."""

import ssl
import time
from typing import Any

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from yarl import URL

from netmon.probing.attempt import Attempt
from netmon.probing.errors import ProbeError
from netmon.probing.resolver import Resolver
from netmon.probing.secrets import SecretFolder
from netmon.specs import HttpSpec

MAX_REDIRECTS = 5
MAX_BODY = 1024 * 1024
"""Bytes of a body that are read, as sent (not decompressed); a longer body is not an error."""
MAX_HEADER = 16 * 1024
"""Bytes of a status line or a header."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DAY = 86_400


class HttpProber:
    """Sends requests and checks the responses; close it after use."""

    def __init__(self, resolver: Resolver, secrets: SecretFolder, version: str) -> None:
        self._secrets = secrets
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        self._session = aiohttp.ClientSession(
            # Each probe opens a new connection: it measures what a new client experiences.
            connector=aiohttp.TCPConnector(
                force_close=True,
                limit=0,
                use_dns_cache=False,
                resolver=resolver,
                socket_factory=resolver.create_socket,
                ssl=context,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # A response that is compressed nevertheless is never decompressed.
            headers={"User-Agent": f"network-monitor/{version}", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the timeout of the attempt applies
            response_class=_Response,
            auto_decompress=False,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def probe(self, spec: HttpSpec, attempt: Attempt) -> None:
        """Send one request and check its response.

        Raises:
            FAILURES: see `netmon.probing.errors`.
        """
        headers = self._secrets.resolve(spec.headers)
        async with self._session.request(
            spec.method,
            spec.url,
            headers=headers or None,
            # A spec that expects a redirect status must see the redirect.
            allow_redirects=_REDIRECTS.isdisjoint(spec.expected_status),
            max_redirects=MAX_REDIRECTS,
            middlewares=(_headers_only_for(URL(spec.url).origin(), spec.headers),) if headers else None,
        ) as response:
            attempt.http_status = response.status
            if isinstance(response, _Response) and (expires := response.certificate_expires()) is not None:
                _check_certificate(spec, expires, attempt)
            _check_status(spec, response.status)
            body = await _read(response.content, keep=spec.body_contains is not None)
        if spec.body_contains is not None:
            _check_body(response, body, spec.body_contains)


class _Response(aiohttp.ClientResponse):
    """A response that keeps its TLS session: its connection is released as soon as the body is read."""

    _tls: ssl.SSLObject | None = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        if connection.transport is not None:
            self._tls = connection.transport.get_extra_info("ssl_object")
        return await super().start(connection)

    def certificate_expires(self) -> float | None:
        """The expiry of the certificate in seconds since 1970; None without TLS."""
        certificate = self._tls.getpeercert() if self._tls else None
        return ssl.cert_time_to_seconds(str(certificate["notAfter"])) if certificate else None


def _headers_only_for(origin: URL, headers: dict[str, str]) -> ClientMiddlewareType:
    """Drop the headers, which are often credentials, from requests to another origin after a redirect."""

    async def middleware(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        if request.url.origin() != origin:
            for name in headers:
                request.headers.popall(name, None)
        return await handler(request)

    return middleware


async def _read(content: aiohttp.StreamReader, *, keep: bool) -> bytes:
    body = bytearray()
    remaining = MAX_BODY
    while remaining > 0 and (chunk := await content.read(remaining)):
        remaining -= len(chunk)
        if keep:
            body += chunk
    return bytes(body)


def _check_certificate(spec: HttpSpec, expires: float, attempt: Attempt) -> None:
    days = (expires - time.time()) / _DAY
    attempt.certificate_days = round(days, 2)
    if days < spec.certificate_days:
        attempt.warning = "certificate"
        attempt.detail = f"the certificate expires in {days:.1f} days"


def _check_status(spec: HttpSpec, status: int) -> None:
    if spec.expected_status:
        if status not in spec.expected_status:
            expected = ", ".join(map(str, spec.expected_status))
            raise ProbeError("http_status", f"the target answered with status {status}, expected {expected}")
    elif status >= 400:
        raise ProbeError("http_status", f"the target answered with status {status}")


def _check_body(response: aiohttp.ClientResponse, body: bytes, text: str) -> None:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise ProbeError("body", f"the body is compressed ({encoding}) although the request did not accept that")
    try:
        wanted = text.encode(response.charset or "utf-8")
    except (LookupError, UnicodeError):
        wanted = text.encode()
    if wanted not in body:
        raise ProbeError("body", f"the first {len(body)} bytes of the body do not contain the expected text")
