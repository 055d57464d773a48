"""Clients of a production stack's proxy: raw requests over HTTP/1.1, complete ones over HTTP/3."""

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

TIMEOUT = 15.0


@dataclass(frozen=True)
class Response:
    """A response; the names of the headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: str


@dataclass(frozen=True)
class ProxyClient:
    """A client of a stack's proxy."""

    stack: Stack
    proxy: Proxy

    def request(self, path: str, method: str = "GET", body: bytes | None = None, *, plain: bool = False,
                host: str | None = None, **headers: str) -> Response:  # fmt: skip
        """Send one request with the path unchanged; ``_`` in the name of a header becomes a dash."""
        port = self.proxy.http_port if plain else self.proxy.https_port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
        connection.connect()
        if not plain:
            connection.sock = self.proxy.ssl_context().wrap_socket(connection.sock, server_hostname=self.proxy.domain)
        try:
            connection.putrequest(method, path, skip_host=True)
            connection.putheader("Host", host or f"{self.proxy.domain}:{port}")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            with suppress(OSError):  # refused before the whole body was sent: the response has the reason
                connection.send(body or b"")
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            return Response(response.status, lowered, response.read().decode())
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
            return asyncio.run(asyncio.wait_for(self._over_http3(path, configuration), TIMEOUT))

    async def _over_http3(self, path: str, configuration: QuicConfiguration) -> int:
        async with connect("127.0.0.1", self.proxy.https_port, configuration=configuration,
                           create_protocol=_Http3) as client:  # fmt: skip
            assert isinstance(client, _Http3)
            return await client.get(self.proxy.url.removeprefix("https://"), path)

    def log_records(self) -> list[dict[str, Any]]:
        """The records of the proxy's log, a JSON object in each line."""
        return [json.loads(line) for line in self.log_text().splitlines()]

    def log_text(self) -> str:
        """The proxy's output, standard output and standard error."""
        done = self.stack.run("docker", "logs", self.stack.container("proxy")["Id"])
        return done.stdout + done.stderr


class _Http3(QuicConnectionProtocol):
    """One request over HTTP/3."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._http = H3Connection(self._quic)
        self._status: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def get(self, authority: str, path: str) -> int:
        """Send a GET request and return the status."""
        stream = self._quic.get_next_available_stream_id()
        names = {":method": "GET", ":scheme": "https", ":authority": authority, ":path": path}
        self._http.send_headers(stream, [(name.encode(), value.encode()) for name, value in names.items()], True)
        self.transmit()
        return await self._status

    def quic_event_received(self, event: QuicEvent) -> None:
        """Take the status from the response headers."""
        for each in self._http.handle_event(event):
            if isinstance(each, HeadersReceived) and not self._status.done():
                self._status.set_result(int(dict(each.headers)[b":status"]))
