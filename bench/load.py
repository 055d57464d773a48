"""Requests over connections that stay open: as many as are answered, or so many a second."""

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
class Answers:
    """What came of a load: answers a second, and the seconds that each took, sorted."""

    rate: float
    latencies: list[float]

    def quantile(self, share: float) -> float:
        """The seconds that this share of the requests did not exceed."""
        return self.latencies[min(int(len(self.latencies) * share), len(self.latencies) - 1)]


@dataclass(frozen=True)
class Tls:
    """How a client comes by HTTPS: the certificates that it trusts, and the name that it asks for."""

    trust: ssl.SSLContext
    name: str


class Connection:
    """One connection for GET requests; every answer must be a 200."""

    def __init__(self, host: str, port: int, tls: Tls | None = None) -> None:
        self._host, self._port = host, port
        self._name = tls.name if tls else host
        self._encryption: dict[str, Any] = {"ssl": tls.trust, "server_hostname": tls.name} if tls else {}
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> str:
        """Send a request and read its answer; its head, in lower case."""
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
        """Close it."""
        if self._streams is not None:
            self._streams[1].close()
            await self._streams[1].wait_closed()


def most(base: str, paths: Sequence[str], connections: int, seconds: float, tls: Tls | None = None) -> Answers:
    """Ask again as soon as an answer is there, on every connection."""
    return asyncio.run(_most(base, paths, connections, seconds, tls))


async def _most(base: str, paths: Sequence[str], connections: int, seconds: float, tls: Tls | None) -> Answers:
    turns, latencies = itertools.cycle(paths), list[float]()
    ends = time.perf_counter() + seconds

    async def ask(connection: Connection) -> None:
        while (began := time.perf_counter()) < ends:
            await connection.get(next(turns))
            latencies.append(time.perf_counter() - began)

    opened = _connections(base, connections, tls)
    await asyncio.gather(*map(ask, opened))
    await asyncio.gather(*(each.close() for each in opened))
    return Answers(len(latencies) / seconds, sorted(latencies))


def paced(base: str, paths: Sequence[str], rate: float, seconds: float, tls: Tls | None = None) -> Answers:
    """Ask so many times a second, whether or not earlier answers are there; waiting for a connection counts."""
    return asyncio.run(_paced(base, paths, rate, seconds, tls))


async def _paced(base: str, paths: Sequence[str], rate: float, seconds: float, tls: Tls | None) -> Answers:
    turns, latencies = itertools.cycle(paths), list[float]()
    opened = _connections(base, 32, tls)
    free: asyncio.LifoQueue[Connection] = asyncio.LifoQueue()
    for connection in opened:
        free.put_nowait(connection)
    began = time.perf_counter()

    async def ask(number: int) -> None:
        due = began + number / rate
        await asyncio.sleep(due - time.perf_counter())
        connection = await free.get()
        await connection.get(next(turns))
        latencies.append(time.perf_counter() - due)
        free.put_nowait(connection)

    await asyncio.gather(*(ask(number) for number in range(int(rate * seconds))))
    await asyncio.gather(*(each.close() for each in opened))
    return Answers(len(latencies) / seconds, sorted(latencies))


def _connections(base: str, count: int, tls: Tls | None) -> list[Connection]:
    address = urlsplit(base)
    return [Connection(str(address.hostname), int(address.port or 80), tls) for _ in range(count)]
