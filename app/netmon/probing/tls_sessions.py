"""TLS on connections that are open, with the verification of browsers."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path

from netmon.probing.attempt import Attempt
from netmon.probing.errors import CONNECTION, ProbeError
from netmon.probing.transfer_errors import CERTIFICATE_REASONS, OTHER_NAME
from netmon.probing.trust import Trust

_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
_TOO_OLD = frozenset({"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION"})
_CLOSED = "the connection was closed"
_CONTEXTS = 256
"""Settings that are kept: those with authorities of their own take some 20 KiB."""


class TlsSessions:
    """Makes TLS sessions with servers; settings that are in use, with the authorities of this host, are read once."""

    def __init__(self) -> None:
        self._context = lru_cache(_CONTEXTS)(_context)

    @asynccontextmanager
    async def open(
        self,
        connection: socket.socket,
        name: str,
        attempt: Attempt,
        trust: Trust,
        minimum: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2,
    ) -> AsyncIterator[Stream]:
        """A session on a connection, which this closes.

        Args:
            connection: the connection; the handshake follows immediately.
            name: the host name or IP address that the certificate must be for.
            attempt: gets the time of the handshake.
            trust: whom the session trusts; it has no identity.
            minimum: the lowest version that is accepted.

        Raises:
            ProbeError: the handshake fails, or the certificate is not valid.
        """
        try:
            with attempt.timed("tls"):
                stream = await _stream(connection, self._context(minimum, trust), name)
        except ssl.SSLCertVerificationError as error:
            raise ProbeError("tls", f"the certificate is not valid: {_certificate(error)}") from None
        except OSError as error:
            raise ProbeError("tls", f"the TLS handshake failed: {_handshake(error, minimum)}") from None
        try:
            yield stream
        finally:
            stream.close()


class Stream:
    """A connection, encrypted or not, as a stream of bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @property
    def session(self) -> ssl.SSLObject:
        """The TLS session of an encrypted connection."""
        session: ssl.SSLObject = self.writer.get_extra_info("ssl_object")
        return session

    def close(self) -> None:
        """Close the connection, without waiting for the other side."""
        self.writer.close()
        self.writer.transport.abort()


@asynccontextmanager
async def plain(connection: socket.socket) -> AsyncIterator[Stream]:
    """A connection without TLS as a stream, which this closes."""
    stream = await _stream(connection, None, None)
    try:
        yield stream
    finally:
        stream.close()


async def _stream(connection: socket.socket, context: ssl.SSLContext | None, name: str | None) -> Stream:
    try:
        return Stream(*await asyncio.open_connection(sock=connection, ssl=context, server_hostname=name))
    except BaseException:
        connection.close()
        raise


def _context(minimum: ssl.TLSVersion, trust: Trust) -> ssl.SSLContext:
    # Without the strict checks of `create_default_context`, which browsers do not make.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = minimum
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if not trust.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust.authorities is not None:
        context.load_verify_locations(cadata=trust.authorities)
    else:
        _trust_host(context)
    return context


def _trust_host(context: ssl.SSLContext) -> None:
    """Trust the authorities of this host."""
    if ssl.get_default_verify_paths().cafile is None and _BUNDLE.is_file():
        context.load_verify_locations(_BUNDLE)
    else:
        context.set_default_verify_paths()


def _certificate(error: ssl.SSLCertVerificationError) -> str:
    text = error.verify_message
    if "mismatch" in text:
        return OTHER_NAME
    return CERTIFICATE_REASONS.get(text, text.rstrip("."))


def _handshake(error: OSError, minimum: ssl.TLSVersion) -> str:
    if not isinstance(error, ssl.SSLError):
        return CONNECTION.get(error.errno or 0, _CLOSED)
    reason = error.reason or ""
    if reason in _TOO_OLD:
        return f"the target does not support {minimum.name.replace('v', ' ').replace('_', '.')} or newer"
    if reason in ("", "UNEXPECTED_EOF_WHILE_READING"):
        return _CLOSED
    return re.sub(r"^(tlsv1|sslv3|tlsv13) ", "", reason.replace("_", " ").lower())
