"""A TCP connection, on which TLS can be agreed on, something be sent, and an answer be expected."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from netmon import escapes, expressions
from netmon.probing import certificates, starttls
from netmon.probing.attempt import Attempt
from netmon.probing.connections import connect
from netmon.probing.errors import ProbeError
from netmon.probing.resolver import Resolver
from netmon.probing.tls_sessions import Stream, TlsSessions, plain
from netmon.probing.trust import Trust
from netmon.specs import TcpSpec

MAX_ANSWER = 64 * 1024
"""Bytes of an answer that are searched."""
COALESCE_SECONDS = 0.01
"""How long more of an answer is awaited before it is searched again: a target may send it byte by byte."""
_SHOWN = 120


async def probe(spec: TcpSpec, attempt: Attempt, resolver: Resolver, sessions: TlsSessions, trust: Trust) -> None:
    """Connect to the first address that accepts, and perform the steps of the spec.

    Raises:
        FAILURES: see `netmon.probing.errors`.
    """
    connection = await connect(spec.host, spec.port, resolver, attempt)
    if not (spec.tls or spec.starttls or spec.send or spec.expect or spec.expect_matches):
        connection.close()
        return
    async with _stream(spec, connection, attempt, sessions, trust) as stream:
        try:
            await _converse(spec, stream, attempt)
        except ConnectionError:
            raise ProbeError("disconnected", "the connection was closed before the answer was complete") from None


@asynccontextmanager
async def _stream(
    spec: TcpSpec, connection: socket.socket, attempt: Attempt, sessions: TlsSessions, trust: Trust
) -> AsyncIterator[Stream]:
    if spec.starttls is not None:
        try:
            await starttls.request(spec.starttls, connection)
        except BaseException:
            connection.close()
            raise
    elif not spec.tls:
        async with plain(connection) as stream:
            yield stream
        return
    name = spec.server_name or spec.host
    async with sessions.open(connection, name, attempt, trust) as stream:
        certificates.judge(certificates.of_session(name, stream.session), spec, attempt)
        yield stream


class _Expected(Protocol):
    """The text that an answer must contain."""

    described: str
    """As a part of a sentence: `contain 'a'`."""

    def is_in(self, answer: bytes) -> bool:
        """Whether an answer contains it."""


class _Text:
    def __init__(self, text: str) -> None:
        self._bytes = escapes.decode(text)
        self.described = f"contain {escapes.shown(self._bytes, _SHOWN)}"

    def is_in(self, answer: bytes) -> bool:
        return self._bytes in answer


class _Expression:
    def __init__(self, text: str) -> None:
        self._pattern = expressions.pattern(text)
        self.described = f"match {escapes.shown(text.encode(), _SHOWN)}"

    def is_in(self, answer: bytes) -> bool:
        return self._pattern.is_in(answer.decode(errors="replace"))


async def _converse(spec: TcpSpec, stream: Stream, attempt: Attempt) -> None:
    if spec.send is not None:
        stream.writer.write(escapes.decode(spec.send))
        await stream.writer.drain()
    if spec.expect is not None:
        await _expect(_Text(spec.expect), stream.reader, attempt)
    elif spec.expect_matches is not None:
        await _expect(_Expression(spec.expect_matches), stream.reader, attempt)


async def _expect(expected: _Expected, reader: asyncio.StreamReader, attempt: Attempt) -> None:
    """Read until the answer contains the expected text."""
    answer = b""
    while not expected.is_in(answer):
        attempt.received = f"the answer so far is {_described(answer)}"
        if len(answer) >= MAX_ANSWER:
            raise _unexpected(f"the first {MAX_ANSWER} bytes of the answer do", answer, expected)
        if answer:
            await asyncio.sleep(COALESCE_SECONDS)
        part = await reader.read(MAX_ANSWER - len(answer))
        if not part:
            raise _unexpected("the answer does", answer, expected)
        answer += part


def _unexpected(what: str, answer: bytes, expected: _Expected) -> ProbeError:
    return ProbeError("answer", f"{what} not {expected.described}: found {_described(answer)}")


def _described(answer: bytes) -> str:
    return escapes.shown(answer, _SHOWN) if answer else "empty"
