"""Misbehaving servers on the loopback interface."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import dns.asyncresolver
import dns.message

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def server(
    handler: Handler,
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    heads: list[bytes] | None = None,
    requested: list[str] | None = None,
) -> AsyncIterator[str]:
    """A server that reads the head of a request and then runs `handler`.

    The heads are appended to `heads`, in lower case, and the targets of the requests to `requested`, as they were sent.
    """
    handlers: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            handlers.add(task)
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            if heads is not None:
                heads.append(head.lower())
            if requested is not None:
                requested.append(head.split(b" ")[1].decode())
            await handler(reader, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except RuntimeError as error:
            if "closed" not in str(error):  # uvloop's error for a write to a closed transport
                raise
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, host, 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/"
    finally:
        listening.close()
        for task in handlers:  # a handler that never ends would keep its connection open after the loop
            task.cancel()
        await asyncio.gather(*handlers)


def answers(*parts: bytes) -> Handler:
    """Send these bytes and close."""

    async def handler(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(parts))

    return handler


def redirects(location: str, status: int = 302) -> Handler:
    """Redirect the client."""
    head = f"HTTP/1.1 {status} Go\r\nLocation: {location}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    return answers(head.encode())


@asynccontextmanager
async def name_server(
    reply: Callable[[dns.message.Message], bytes | None],
) -> AsyncIterator[dns.asyncresolver.Resolver]:
    """A resolver whose server replies with `reply(query)`; None means no reply."""

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            answer = reply(dns.message.from_wire(data))
            if answer is not None:
                self.transport.sendto(answer, addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = ["127.0.0.1"]
    resolver.port = transport.get_extra_info("sockname")[1]
    try:
        yield resolver
    finally:
        transport.close()
