"""Every failure has a code and a sentence for people, without names of exceptions."""

from __future__ import annotations

import errno
import os
import re
import socket
import ssl
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import aiohttp
import dns.exception
import dns.resolver
import pytest
from aiohttp.client_reqrep import ConnectionKey
from yarl import URL

from netmon.guard import RefusedAddressError
from netmon.probing import errors
from netmon.probing.errors import FAILURES, NoIpv6Error, PingNotPermittedError, ProbeError, explain

KEY = ConnectionKey("shop", 443, True, True, None, None, None)
REQUEST: Any = Mock(real_url=URL("http://shop/"))


def os_error(number: int) -> OSError:
    """An error of a system call."""
    return OSError(number, os.strerror(number))


def dns_error(kind: Callable[..., Exception], **arguments: Any) -> Exception:
    """An error of dnspython, whose constructors have no types."""
    return kind(**arguments)


def certificate_error() -> aiohttp.ClientConnectorCertificateError:
    """An expired certificate."""
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_message = "certificate has expired"
    return aiohttp.ClientConnectorCertificateError(KEY, error)


def handshake_error() -> aiohttp.ClientConnectorSSLError:
    """A server that does not speak TLS."""
    error = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1000)")
    error.reason = "WRONG_VERSION_NUMBER"
    return aiohttp.ClientConnectorSSLError(KEY, error)


SENTENCES: tuple[tuple[Exception, str, str], ...] = (
    (RefusedAddressError("shop has a private address"), "refused_address", "shop has a private address"),
    (NoIpv6Error("shop has IPv6 addresses only"), "no_ipv6", "shop has IPv6 addresses only"),
    (PingNotPermittedError("not permitted to ping"), "ping_not_permitted", "not permitted to ping"),
    (TimeoutError(), "timeout", "no complete response within 2.5 s"),
    (aiohttp.TooManyRedirects(REQUEST, (Mock(),) * 6), "redirects", "more than 5 redirects"),
    (certificate_error(), "tls", "the certificate is not valid: certificate has expired"),
    (handshake_error(), "tls", "the TLS handshake failed: wrong version number"),
    (aiohttp.ClientConnectorDNSError(KEY, socket.gaierror(socket.EAI_NONAME, "x")), "dns", "the name does not exist"),
    (aiohttp.ClientConnectorDNSError(KEY, OSError()), "dns", "the name cannot be resolved"),
    (aiohttp.ClientConnectorError(KEY, os_error(errno.ECONNREFUSED)), "connect", "connection refused"),
    (aiohttp.ClientConnectorError(KEY, os_error(errno.EHOSTUNREACH)), "connect", "the host is unreachable"),
    (aiohttp.ServerDisconnectedError(), "disconnected", "the connection was closed before the response was complete"),
    (aiohttp.ClientOSError(errno.ECONNRESET, "x"), "disconnected", "the connection was reset"),
    (aiohttp.ClientPayloadError("x"), "protocol", "the response ended before it was complete"),
    (aiohttp.ClientResponseError(REQUEST, (), message="x"), "protocol", "the response is not valid HTTP"),
    (aiohttp.InvalidURL("http://"), "protocol", "redirected to an address that is not valid"),
    (dns_error(dns.resolver.NXDOMAIN), "no_answer", "the name does not exist"),
    (dns_error(dns.resolver.NoAnswer, response=Mock()), "no_answer", "the name has no record of this type"),
    (dns_error(dns.exception.Timeout), "timeout", "the name server did not answer in time"),
    (dns_error(dns.resolver.NoNameservers), "dns", "no name server gives a valid answer"),
    (dns_error(dns.exception.FormError), "dns", "the answer of the name server is not valid"),
    (socket.gaierror(socket.EAI_AGAIN, "x"), "dns", "the name server does not answer"),
    (os_error(errno.ENETUNREACH), "connect", "the network is unreachable"),
    (os_error(errno.ENOBUFS), "connect", "no buffer space available"),
    (OSError("a reason"), "connect", "a reason"),
    (OSError(), "connect", "the connection failed"),
    (
        OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), [Errno 113] Connect call failed"),
        "connect", "connection refused or the host is unreachable",
    ),
    (ValueError("x"), "protocol", "the response is not valid"),
    (ProbeError("body", "the body lacks a text"), "body", "the body lacks a text"),
)  # fmt: skip


@pytest.mark.parametrize(("failure", "code", "sentence"), SENTENCES, ids=lambda each: type(each).__name__)
def test_a_failure_has_a_code_and_a_sentence(failure: Exception, code: str, sentence: str) -> None:
    assert explain(failure, 2.5) == (code, sentence)


def test_every_kind_of_failure_has_a_sentence() -> None:
    assert {next(kind for kind in FAILURES if isinstance(failure, kind)) for failure, _, _ in SENTENCES} == set(
        FAILURES
    )


@pytest.mark.parametrize("number", sorted(errors._CONNECTION))
def test_a_sentence_names_no_exception(number: int) -> None:
    _, sentence = explain(os_error(number), 1)
    assert not re.search(r"Errno|Error|Exception|\[", sentence)
