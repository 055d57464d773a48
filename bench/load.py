"""HTTP load over persistent connections: closed-loop, or at a constant rate."""

from __future__ import annotations

import asyncio
import itertools
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class LoadResult:
    """Responses a second, and the latency of each in seconds, sorted."""

    rate: float
    latencies: list[float]

    def quantile(self, share: float) -> float:
        """The latency in seconds that this share of the requests did not exceed."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)]


@dataclass(frozen=True)
class Tls:
    """A client's side of HTTPS: the certificates that it trusts, and the server name that it requests."""

    trust: ssl.SSLContext
    name: str


class Connection:
    """One connection for GET requests; every response must be a 200."""

    def __init__(self, host: str, port: int, tls: Tls | None = None) -> None:
        self._host, self._port = host, port
        self._name = tls.name if tls else host
        self._encryption: dict[str, Any] = {"ssl": tls.trust, "server_hostname": tls.name} if tls else {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> str:
        """Send a request, read the response and return its head, in lower case."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, **self._encryption)
        reader, writer = self._streams
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {self._name}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not head.startswith("http/1.1 200"):
            raise ConnectionError(f"{path}: {head}")
        _, _, length = head.partition("content-length:")
        await reader.readexactly(int(length.split("\r\n", 1)[0]))
        return head

    async def close(self) -> None:
        """Close the connection, if one is open."""
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()


def closed_loop(
    base: str, paths: Sequence[str], connections: int, seconds: float, tls: Tls | None = None
) -> LoadResult:
    """Send the next request as soon as a response has arrived, on every connection."""
    return asyncio.run(_closed_loop(base, paths, connections, seconds, tls))


async def _closed_loop(
    base: str, paths: Sequence[str], connections: int, seconds: float, tls: Tls | None
) -> LoadResult:
    turns, latencies = itertools.cycle(paths), list[float]()
    ends = time.perf_counter() + seconds

    async def client(connection: Connection) -> None:
        while (began := time.perf_counter()) < ends:
            await connection.get(next(turns))
            latencies.append(time.perf_counter() - began)

    opened = _connections(base, connections, tls)
    await asyncio.gather(*map(client, opened))
    await asyncio.gather(*(each.close() for each in opened))
    return LoadResult(len(latencies) / seconds, sorted(latencies))


def constant_rate(base: str, paths: Sequence[str], rate: float, seconds: float, tls: Tls | None = None) -> LoadResult:
    """Send requests at a constant rate, regardless of earlier responses; the wait for a connection counts."""
    return asyncio.run(_constant_rate(base, paths, rate, seconds, tls))


async def _constant_rate(base: str, paths: Sequence[str], rate: float, seconds: float, tls: Tls | None) -> LoadResult:
    turns, latencies = itertools.cycle(paths), list[float]()
    opened = _connections(base, 32, tls)
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for connection in opened:
        free.put_nowait(connection)
    began = time.perf_counter()

    async def request(number: int) -> None:
        due = began + number / rate
        await asyncio.sleep(due - time.perf_counter())
        connection = await free.get()
        await connection.get(next(turns))
        latencies.append(time.perf_counter() - due)
        free.put_nowait(connection)

    await asyncio.gather(*(request(number) for number in range(int(rate * seconds))))
    await asyncio.gather(*(each.close() for each in opened))
    return LoadResult(len(latencies) / seconds, sorted(latencies))


def _connections(base: str, count: int, tls: Tls | None) -> list[Connection]:
    address = urlsplit(base)
    return [Connection(str(address.hostname), int(address.port or 80), tls) for _ in range(count)]
