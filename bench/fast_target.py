"""A target on this machine that answers as fast as it can, and counts."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from typing import cast

import uvloop

from tests.live import pipeline
from tests.live.stack import Stack, free_ports


@dataclass(frozen=True)
class Target:
    """A server in a process of its own, the Unix time of its first request, and the number of all of them."""

    url: str
    first: Synchronized[float]
    answered: Synchronized[int]

    def requests(self) -> int:
        """The number of requests so far."""
        return self.answered.value


@contextmanager
def answering(stack: Stack) -> Iterator[Target]:
    """A target on the host, at an address that the worker reaches."""
    gateway = pipeline.gateway(stack)
    [port] = free_ports(1)
    first: Synchronized[float] = multiprocessing.Value("d", 0)
    answered: Synchronized[int] = multiprocessing.Value("q", 0)
    process = multiprocessing.Process(target=serve, args=(gateway, port, first, answered), daemon=True)
    process.start()
    try:
        yield Target(f"http://{gateway}:{port}/", first, answered)
    finally:
        process.terminate()
        process.join()


def serve(host: str, port: int, first: Synchronized[float], answered: Synchronized[int]) -> None:
    """Answer every request with 200 and close the connection."""

    class Answer(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast(asyncio.Transport, transport)

        def data_received(self, _data: bytes) -> None:
            if not first.value:
                first.value = time.time()
            answered.value += 1
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
            self.transport.close()

    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Answer, host, port, backlog=1000)
        await server.serve_forever()

    uvloop.run(run())
