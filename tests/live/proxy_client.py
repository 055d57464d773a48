"""Clients of a production stack's proxy that a test can bend: raw requests over HTTP/1.1, whole ones over HTTP/3."""

from __future__ import annotations

import asyncio
import http.client
import json
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aioquic.asyncio.client import connect
from aioquic.asyncio.protocol import QuicConnectionProtocol
from aioquic.h3.connection import H3_ALPN, H3Connection
from aioquic.h3.events import HeadersReceived
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.events import QuicEvent

from tests.live.stack import Stack
from toolkit.checks.proxy import Proxy

SECONDS = 15.0


@dataclass(frozen=True)
class Answer:
    """What came back; the names of the headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class Front:
    """The proxy of a stack."""

    stack: Stack
    proxy: Proxy

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, *, plain: bool = False,
            host: str | None = None, **headers: str) -> Answer:  # fmt: skip
        """One request with the path exactly as it is given; ``_`` in the name of a header stands for a dash."""
        port = self.proxy.plain if plain else self.proxy.encrypted
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        connection.connect()
        if not plain:
            connection.sock = self.proxy.trust().wrap_socket(connection.sock, server_hostname=self.proxy.domain)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host or f"{self.proxy.domain}:{port}")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            with suppress(OSError):  # refused before all of it was sent: the answer says so
                connection.send(body or b"")
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read().decode())
        finally:
            connection.close()

    def over_http3(self, path: str) -> int:
        """The status of a GET over HTTP/3."""
        with tempfile.TemporaryDirectory() as folder:
            authority = Path(folder) / "root.crt"
            authority.write_text(self.proxy.authority or "")
            configuration = QuicConfiguration(
                alpn_protocols=H3_ALPN, is_client=True, server_name=self.proxy.domain, cafile=str(authority)
            )
            return asyncio.run(asyncio.wait_for(self._over_http3(path, configuration), SECONDS))

    async def _over_http3(self, path: str, configuration: QuicConfiguration) -> int:
        async with connect("127.0.0.1", self.proxy.encrypted, configuration=configuration,
                           create_protocol=_Http3) as client:  # fmt: skip
            assert isinstance(client, _Http3)
            return await client.get(self.proxy.url.removeprefix("https://"), path)

    def logged(self) -> list[dict[str, Any]]:
        """The lines of its log: every one is a JSON object."""
        return [json.loads(line) for line in self.said().splitlines()]

    def said(self) -> str:
        """All that it has written."""
        done = self.stack.run("docker", "logs", self.stack.container("proxy")["Id"])
        return done.stdout + done.stderr


class _Http3(QuicConnectionProtocol):
    """One request, of which the status is wanted."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._http = H3Connection(self._quic)
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def get(self, authority: str, path: str) -> int:
        """Send it, and wait for the first headers."""
        stream = self._quic.get_next_available_stream_id()
        names = {":method": "GET", ":scheme": "https", ":authority": authority, ":path": path}
        self._http.send_headers(stream, [(name.encode(), value.encode()) for name, value in names.items()], True)
        self.transmit()
        return await self._status

    def quic_event_received(self, event: QuicEvent) -> None:
        """Read what the event means for HTTP/3."""
        for each in self._http.handle_event(event):
            if isinstance(each, HeadersReceived) and not self._status.done():
                self._status.set_result(int(dict(each.headers)[b":status"]))
