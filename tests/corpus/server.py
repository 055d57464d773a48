"""Servers on the loopback interface that send the answers of the corpus."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.corpus import http2
from tests.corpus.answer import Act, Answer, Part, Request, page

HOST = "127.0.0.1"
VALID = ("valid", "tls-1.2", "intermediate")
"""The certificates that a client must accept."""
_Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]


class Authority:
    """A certificate authority, and the certificates of the corpus.

    Args:
        folder: for its certificate, `ca.pem`, which clients must trust.
    """

    def __init__(self, folder: Path) -> None:
        self._ca = trustme.CA()
        self.path = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(self.path)
        yesterday = datetime.now(UTC) - timedelta(days=1)
        self._issued = {
            "valid": self._ca.issue_cert(HOST),
            "tls-1.2": self._ca.issue_cert(HOST),
            "intermediate": self._ca.create_child_ca().issue_cert(HOST),
            "expired": self._ca.issue_cert(HOST, not_after=yesterday),
            "other-name": self._ca.issue_cert("example.org"),
            "other-authority": trustme.CA().issue_cert(HOST),
        }

    def context(self, certificate: str, layer: str) -> ssl.SSLContext:
        """The settings of a server with one of the certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._issued[certificate].configure_cert(context)
        context.set_alpn_protocols(["h2"] if layer == "h2" else ["http/1.1"])
        if certificate == "tls-1.2":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        return context

    def chromium(self) -> list[str]:
        """Arguments for Chromium, which takes no authority as an argument, so that it accepts the valid ones."""
        keys = [_key_digest(self._issued[name]) for name in VALID]
        return [f"--ignore-certificate-errors-spki-list={','.join(keys)}"]


def _key_digest(certificate: trustme.LeafCert) -> str:
    parsed = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes())
    key = parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(sha256(key).digest()).decode()


@asynccontextmanager
async def serving(answer: Answer, authority: Authority, port: int = 0) -> AsyncIterator[str]:
    """Serve an answer, and a page at another origin; yields the URL."""
    async with _listening(_always(page()), None, 0) as other:
        tls = authority.context(answer.certificate, answer.layer) if answer.layer != "plain" else None
        serve = _http2(answer, other) if answer.layer == "h2" else _http1(answer, other)
        async with _listening(serve, tls, port) as url:
            yield f"{url}/"


def _http1(answer: Answer, other: str) -> _Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        await send(answer.respond(Request(head.split(" ")[1], head, url, other)), reader, writer)

    return serve


def _http2(answer: Answer, other: str) -> _Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
        writer.write(http2.SETTINGS)
        await http2.read_request(reader)
        await send(answer.respond(Request("/", "", url, other)), reader, writer)
        await asyncio.sleep(0.2)  # frames of the client would otherwise reset the connection

    return serve


def _always(response: bytes) -> _Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response)

    return serve


async def send(parts: Sequence[Part], reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the parts of an answer."""
    last = b""
    for part in parts:
        if isinstance(part, bytes):
            last = part
            writer.write(part)
            await writer.drain()
        elif isinstance(part, float):
            await asyncio.sleep(part)
        elif part is Act.REPEAT:
            while True:
                writer.write(last)
                await writer.drain()
                await asyncio.sleep(0)
        elif part is Act.HOLD:
            await reader.read()  # until the client closes
        else:
            _sever(writer, reset=part is Act.RESET)


def _sever(writer: asyncio.StreamWriter, *, reset: bool) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    else:
        connection.shutdown(socket.SHUT_RDWR)


@asynccontextmanager
async def _listening(serve: _Serve, tls: ssl.SSLContext | None, port: int) -> AsyncIterator[str]:
    tasks: set[asyncio.Task[None]] = set()
    url = ""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            tasks.add(task)
        try:
            await serve(reader, writer, url)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, RuntimeError):
            pass  # the client has closed the connection
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, HOST, port, ssl=tls)
    url = f"{'https' if tls else 'http'}://{HOST}:{listening.sockets[0].getsockname()[1]}"
    try:
        yield url
    finally:
        listening.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
