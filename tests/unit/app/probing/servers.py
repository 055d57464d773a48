"""Misbehaving servers on the loopback interface."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dns.message

from netmon.probing.system_names import SystemNames

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


Reply = Callable[[dns.message.Message], bytes | None]
"""Answers a query; None means no answer."""


@asynccontextmanager
async def name_server(
    reply: Reply, tcp_reply: Reply | None = None, *, host: str = "127.0.0.1", port: int = 0, delay_seconds: float = 0
) -> AsyncIterator[int]:
    """A name server that replies with `reply(query)`, over TCP with `tcp_reply(query)`; yields its port.

    Replies over UDP are sent after `delay_seconds`.
    """

    class Protocol(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            answer = reply(dns.message.from_wire(data))
            if answer is not None:
                asyncio.get_running_loop().call_later(delay_seconds, self.transport.sendto, answer, addr)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            data = await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))
            answer = tcp_reply(dns.message.from_wire(data)) if tcp_reply else None
            if answer is not None:
                writer.write(len(answer).to_bytes(2, "big") + answer)
                await writer.drain()
        finally:
            writer.close()

    # First TCP, many of whose ports are in use by others.
    listening = await asyncio.start_server(serve, host, port) if tcp_reply else None
    try:
        port = listening.sockets[0].getsockname()[1] if listening else port
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Protocol, (host, port))
        try:
            yield transport.get_extra_info("sockname")[1]
        finally:
            transport.close()
    finally:
        if listening:
            listening.close()


@contextmanager
def system_names(port: int, *servers: str, hosts: str = "") -> Iterator[SystemNames]:
    """The names of a host with these name servers, by default the loopback address, and this table."""
    with TemporaryDirectory() as folder:
        resolv_conf, table = Path(folder, "resolv.conf"), Path(folder, "hosts")
        resolv_conf.write_text("".join(f"nameserver {each}\n" for each in servers or ["127.0.0.1"]))
        table.write_text(hosts)
        yield SystemNames(resolv_conf, table, port)
