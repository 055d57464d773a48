"""A limit of requests for each client address, so that one client cannot take the application from the others.

It holds in each process: the limit of a client is at most that of all replicas together. What is limited is neither
logged nor traced, since a flood would be written to the disk: `netmon_limited_requests_total` counts it.
"""

import time
from collections import OrderedDict
from http import HTTPStatus
from ipaddress import IPv6Address
from math import ceil
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from netmon import metrics
from netmon.client_address import Address, ClientAddresses
from netmon.heartbeats import PATH as HEARTBEATS
from netmon.logs import logger
from netmon.problems import problem
from netmon.token_bucket import TokenBucket

MAX_CLIENTS = 10_000
"""Addresses that are remembered; the one without a request for the longest time is forgotten first."""
REMINDER_SECONDS = 60.0
"""Time between two log lines about one client."""
UNLIMITED = ("/api/health", "/api/metrics", "/api/alerts")
"""For the platform itself: the proxy answers them with 404, or in the case of its health check itself."""

log = logger(__name__)


class _ClientBucket(TokenBucket):
    """The bucket of a client, and when the log had a line about it."""

    __slots__ = ("reported_at",)

    def __init__(self, rate: float) -> None:
        super().__init__(rate)
        self.reported_at = float("-inf")


class _Key(NamedTuple):
    kind: str
    client: str


class ClientLimits:
    """Middleware: answers 429 to a client that exceeds its rate.

    Heartbeats do not count, as jobs behind one address report at the same minute, and a refused one is a false alarm:
    only those with unknown URLs do, in a bucket of their own.

    Args:
        app: the application.
        rate: requests a second; 0: no limit.
        addresses: finds the clients.
    """

    def __init__(self, app: ASGIApp, rate: float, addresses: ClientAddresses) -> None:
        self._app = app
        self._rate = rate
        self._addresses = addresses
        self._buckets: OrderedDict[_Key, _ClientBucket] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one ASGI connection."""
        if scope["type"] != "http" or not self._rate or _is_unlimited(scope["path"]) or not scope.get("client"):
            await self._app(scope, receive, send)
            return
        forwarded = Headers(scope=scope).getlist("x-forwarded-for")
        client = await self._addresses.client(scope["client"][0], forwarded)
        if client is None:
            await self._app(scope, receive, send)
            return
        kind = "heartbeats" if scope["path"].startswith(HEARTBEATS) else "requests"
        bucket = self._bucket(_Key(kind, _group(client)))
        if wait := bucket.wait_seconds():
            await self._refuse(bucket, kind, client, wait, scope, receive, send)
            return
        if kind == "requests":
            bucket.take()
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.NOT_FOUND:
                bucket.take()
            await send(message)

        await self._app(scope, receive, counted)

    async def _refuse(
        self, bucket: _ClientBucket, kind: str, client: Address, wait: float, scope: Scope, receive: Receive, send: Send
    ) -> None:
        metrics.LIMITED_REQUESTS.labels(kind).inc()
        now = time.monotonic()
        if now - bucket.reported_at > REMINDER_SECONDS:
            bucket.reported_at = now
            log.warning("client limited", client=str(client), limited=kind)
        seconds = str(ceil(wait))
        detail = f"The rate limit of {self._rate:g} requests per second for each client is exceeded."
        response = problem(HTTPStatus.TOO_MANY_REQUESTS, f"{detail} Retry in {seconds} s.")
        response.headers["Retry-After"] = seconds
        await response(scope, receive, send)

    def _bucket(self, key: _Key) -> _ClientBucket:
        found = self._buckets.get(key)
        if found is None:
            found = self._buckets[key] = _ClientBucket(self._rate)
            if len(self._buckets) > MAX_CLIENTS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return found


def _is_unlimited(path: str) -> bool:
    return path.startswith(tuple(f"{each}/" for each in UNLIMITED)) or path in UNLIMITED


def _group(client: Address) -> str:
    """The client, or the network that a client of IPv6 chooses its addresses in."""
    return f"{client.exploded[:19]}/64" if isinstance(client, IPv6Address) else str(client)
