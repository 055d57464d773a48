"""One HTTP request, bounded in redirects and bytes."""

import ssl
import time
from typing import Any

import aiohttp
from aiohttp.client_middlewares import ClientHandlerType, ClientMiddlewareType
from yarl import URL

from netmon.probing.errors import ProbeError
from netmon.probing.finding import Finding
from netmon.probing.resolver import Resolver
from netmon.specs import HttpSpec

MAX_REDIRECTS = 5
MAX_BODY = 1024 * 1024
"""Bytes of a body that are read, as sent (not decompressed); a longer one is no error of the target."""
MAX_HEADER = 16 * 1024

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_DAY = 86_400


class HttpProbe:
    """Sends the requests; to be closed at the end."""

    def __init__(self, resolver: Resolver, version: str) -> None:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        self._session = aiohttp.ClientSession(
            # Each probe opens its own connection: it measures the target as a new client meets it.
            connector=aiohttp.TCPConnector(
                force_close=True,
                limit=0,
                use_dns_cache=False,
                resolver=resolver,
                socket_factory=resolver.socket_of,
                ssl=context,
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            # What is compressed nevertheless is never unpacked.
            headers={"User-Agent": f"network-monitor/{version}", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the prober's holds for all of an attempt
            response_class=_Response,
            auto_decompress=False,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def probe(self, spec: HttpSpec, finding: Finding) -> None:
        """Send one request and judge its answer.

        Raises:
            FAILURES: see `netmon.probing.errors`.
        """
        async with self._session.request(
            spec.method,
            spec.url,
            headers=spec.headers or None,
            # Whoever expects a redirect wants to see it.
            allow_redirects=_REDIRECTS.isdisjoint(spec.expected_status),
            max_redirects=MAX_REDIRECTS,
            middlewares=(_only_for(URL(spec.url).origin(), spec.headers),) if spec.headers else None,
        ) as response:
            finding.http_status = response.status
            if isinstance(response, _Response) and (expires := response.certificate_expires()) is not None:
                _judge_certificate(spec, expires, finding)
            _judge_status(spec, response.status)
            body = await _read(response.content, keep=spec.body_contains is not None)
        if spec.body_contains is not None:
            _judge_body(response, body, spec.body_contains)


class _Response(aiohttp.ClientResponse):
    """An answer that remembers the TLS session that it came through: its connection is gone as soon as it is read."""

    _tls: ssl.SSLObject | None = None

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        if connection.transport is not None:
            self._tls = connection.transport.get_extra_info("ssl_object")
        return await super().start(connection)

    def certificate_expires(self) -> float | None:
        """Seconds since 1970; None without TLS."""
        certificate = self._tls.getpeercert() if self._tls else None
        return ssl.cert_time_to_seconds(str(certificate["notAfter"])) if certificate else None


def _only_for(origin: URL, headers: dict[str, str]) -> ClientMiddlewareType:
    """Headers are often credentials: nobody else gets them, whoever the target redirects to."""

    async def middleware(request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        if request.url.origin() != origin:
            for name in headers:
                request.headers.popall(name, None)
        return await handler(request)

    return middleware


async def _read(content: aiohttp.StreamReader, *, keep: bool) -> bytes:
    body = bytearray()
    left = MAX_BODY
    while left > 0 and (chunk := await content.read(left)):
        left -= len(chunk)
        if keep:
            body += chunk
    return bytes(body)


def _judge_certificate(spec: HttpSpec, expires: float, finding: Finding) -> None:
    days = (expires - time.time()) / _DAY
    finding.certificate_days = round(days, 2)
    if days < spec.certificate_days:
        finding.warning = "certificate"
        finding.detail = f"the certificate expires in {days:.1f} days"


def _judge_status(spec: HttpSpec, status: int) -> None:
    if spec.expected_status:
        if status not in spec.expected_status:
            expected = ", ".join(map(str, spec.expected_status))
            raise ProbeError("http_status", f"the target answered {status} instead of {expected}")
    elif status >= 400:
        raise ProbeError("http_status", f"the target answered {status}")


def _judge_body(response: aiohttp.ClientResponse, body: bytes, text: str) -> None:
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding.lower() != "identity":
        raise ProbeError("body", f"the body is compressed ({encoding}), though that was not asked for")
    try:
        wanted = text.encode(response.charset or "utf-8")
    except (LookupError, UnicodeError):
        wanted = text.encode()
    if wanted not in body:
        raise ProbeError("body", f"the first {len(body)} bytes of the body do not contain the text")
