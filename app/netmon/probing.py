"""Probing a target: one HTTP request, bounded in time, redirects and bytes."""

import asyncio
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import aiohttp

from netmon.models import Outcome
from netmon.supervision import describe

MAX_REDIRECTS = 5
MAX_BODY = 1024 * 1024
"""Bytes of a body that are read, as sent (not decompressed); a longer one is no error of the target."""
MAX_HEADER = 16 * 1024

# The order matters: the first class that fits names the error.
_ERRORS: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "timeout"),
    (aiohttp.TooManyRedirects, "redirects"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ClientConnectorCertificateError, "tls"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (aiohttp.ClientConnectorError, "connect"),
    (aiohttp.ClientConnectionError, "disconnected"),
    (aiohttp.ClientError, "protocol"),
    (ValueError, "protocol"),
)

OUTCOMES = tuple(dict.fromkeys(("succeeded", "http_status", *(code for _, code in _ERRORS))))
"""What a probe can come to: success, or the code of an error."""


class Prober:
    """Carries out probes; use it as an asynchronous context manager."""

    def __init__(self, timeout: float, version: str) -> None:
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._user_agent = f"network-monitor/{version}"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # Each probe opens its own connection: it measures the target as a new client meets it.
            connector=aiohttp.TCPConnector(force_close=True, limit=0, use_dns_cache=False),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._user_agent},
            timeout=self._timeout,
            auto_decompress=False,
            max_line_size=MAX_HEADER,
            max_field_size=MAX_HEADER,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def probe(self, url: str) -> Outcome:
        """Request `url` and say how it went: a status of 400 and above, or no complete answer, is a failure."""
        started = time.perf_counter()
        http_status, error, detail = None, None, None
        try:
            async with (
                asyncio.timeout(self._timeout.total),
                self._session.get(url, max_redirects=MAX_REDIRECTS) as response,
            ):
                http_status = response.status
                await _read_bounded(response.content)
        except tuple(kind for kind, _ in _ERRORS) as failure:
            error = next(code for kind, code in _ERRORS if isinstance(failure, kind))
            detail = describe(failure)
        if error is None and http_status is not None and http_status >= 400:
            error, detail = "http_status", f"the target answered {http_status}"
        return Outcome(
            status="failed" if error else "succeeded",
            finished_at=datetime.now(UTC),
            duration_ms=round((time.perf_counter() - started) * 1000, 3),
            http_status=http_status,
            error=error,
            detail=detail,
        )


async def _read_bounded(content: aiohttp.StreamReader) -> None:
    left = MAX_BODY
    while left > 0 and (chunk := await content.read(left)):
        left -= len(chunk)
