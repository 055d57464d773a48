"""The change from plain text to TLS in protocols of e-mail."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping

from netmon.escapes import shown
from netmon.probing.errors import ProbeError
from netmon.service_specs import StartTls

MAX_LINE = 2048
"""Bytes of a line; that of the standards is shorter."""
MAX_LINES = 100
"""Lines of one answer."""
_SHOWN = 120


async def request(protocol: StartTls, connection: socket.socket) -> None:
    """Ask the server to change to TLS; the handshake follows.

    Raises:
        ProbeError: it does not speak the protocol, refuses, or closes the connection.
    """
    lines = _Lines(connection)
    try:
        await _DIALOGUES[protocol](lines)
    except ConnectionError:
        raise _disconnected() from None
    if lines.rest:
        # They would be taken for bytes that were sent with encryption.
        raise ProbeError("starttls", "the target sent data between its answer to STARTTLS and the handshake")


async def _smtp(lines: _Lines) -> None:
    await _smtp_reply(lines, b"220", "the greeting")
    await lines.send(f"EHLO {lines.literal}\r\n")
    await _smtp_reply(lines, b"250", "the answer to EHLO")
    await lines.send("STARTTLS\r\n")
    await _smtp_reply(lines, b"220", "the answer to STARTTLS")


async def _smtp_reply(lines: _Lines, code: bytes, what: str) -> None:
    for _ in range(MAX_LINES):
        line = await lines.next()
        if line[:3] != code or line[3:4] not in (b" ", b"-", b""):
            raise _unexpected(what, line, code.decode())
        if line[3:4] != b"-":
            return
    raise ProbeError("starttls", f"{what} has more than {MAX_LINES} lines")


async def _imap(lines: _Lines) -> None:
    greeting = await lines.next()
    if not greeting.upper().startswith(b"* OK"):
        raise _unexpected("the greeting", greeting, "* OK")
    await lines.send("a1 STARTTLS\r\n")
    for _ in range(MAX_LINES):
        line = await lines.next()
        if line.upper().startswith(b"A1 OK"):
            return
        if not line.startswith(b"* "):
            raise _unexpected("the answer to STARTTLS", line, "a1 OK")
    raise ProbeError("starttls", f"the answer to STARTTLS has more than {MAX_LINES} lines")


async def _pop3(lines: _Lines) -> None:
    greeting = await lines.next()
    if not greeting.startswith(b"+OK"):
        raise _unexpected("the greeting", greeting, "+OK")
    await lines.send("STLS\r\n")
    answer = await lines.next()
    if not answer.startswith(b"+OK"):
        raise _unexpected("the answer to STLS", answer, "+OK")


_DIALOGUES: Mapping[StartTls, Callable[[_Lines], Awaitable[None]]] = {"smtp": _smtp, "imap": _imap, "pop3": _pop3}


def _unexpected(what: str, line: bytes, expected: str) -> ProbeError:
    return ProbeError("starttls", f"{what} was {shown(line, _SHOWN)}, expected {expected}")


def _disconnected() -> ProbeError:
    return ProbeError("disconnected", "the connection was closed before STARTTLS")


class _Lines:
    """Lines of text on a connection, of which nothing is read ahead of time by the event loop."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self.rest = b""
        """The bytes received after the last line."""

    @property
    def literal(self) -> str:
        """The address of this side as SMTP writes it (RFC 5321, 4.1.3)."""
        address = self._connection.getsockname()[0]
        return f"[IPv6:{address}]" if ":" in address else f"[{address}]"

    async def send(self, text: str) -> None:
        await self._loop.sock_sendall(self._connection, text.encode())

    async def next(self) -> bytes:
        """The next line, without its end."""
        while b"\n" not in self.rest:
            if len(self.rest) > MAX_LINE:
                raise ProbeError("starttls", f"the target sent a line of more than {MAX_LINE} bytes")
            part = await self._loop.sock_recv(self._connection, MAX_LINE)
            if not part:
                raise _disconnected()
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\n")
        return line.rstrip(b"\r")
