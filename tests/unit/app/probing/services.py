"""Services on the loopback interface other than those of HTTP."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import trustme

from netmon.guard import Guard
from netmon.models import Outcome, Plan
from tests.corpus import http2
from tests.unit.app.probing.probes import EVERYWHERE, carry_out
from tests.unit.app.probing.servers import Handler

HOST = "127.0.0.1"


async def probe_of(spec: dict[str, Any], timeout: float = 5, allowed: Guard = EVERYWHERE, **plan: Any) -> Outcome:
    """A probe with this spec."""
    return await carry_out(Plan.model_validate({"spec": spec, "timeout_seconds": timeout, **plan}), allowed)


@asynccontextmanager
async def service(handler: Handler, tls: ssl.SSLContext | None = None, host: str = HOST) -> AsyncIterator[int]:
    """A service; yields its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            tasks.add(task)
        try:
            await handler(reader, writer)
            await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError, RuntimeError):
            pass  # the client has closed the connection
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, host, 0, ssl=tls)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def secured(certificate: trustme.LeafCert, **settings: Any) -> ssl.SSLContext:
    """The settings of a server with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    for name, value in settings.items():
        setattr(context, name, value)
    return context


def expiring(authority: trustme.CA, days: float, *names: str) -> trustme.LeafCert:
    """A certificate that expires in some days."""
    return authority.issue_cert(*names or (HOST,), not_after=datetime.now(UTC) + timedelta(days=days))


def hangs() -> Handler:
    """Say nothing, and close nothing."""

    async def handler(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            pass

    return handler


def says(*parts: bytes, then_hang: bool = False) -> Handler:
    """Send these parts one after another."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        if then_hang:
            await reader.read()

    return handler


def grpc(*answer: bytes, requests: list[bytes] | None = None, delay: float = 0) -> Handler:
    """A server of HTTP/2 that sends these frames to the first request, whose frames are appended to a list."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http2.SETTINGS)
        await reader.readexactly(len(http2.PREFACE))
        while True:
            start = await reader.readexactly(9)
            payload = await reader.readexactly(int.from_bytes(start[:3], "big"))
            if start[3] in (http2.HEADERS, http2.DATA):
                if requests is not None:
                    requests.append(payload)
                if start[4] & http2.END_STREAM:
                    break
        await asyncio.sleep(delay)
        writer.write(b"".join(answer))
        await writer.drain()
        await reader.read()  # frames that are not read would reset the connection

    return handler
