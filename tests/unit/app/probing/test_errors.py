"""Every failure has a code and a sentence for people, without names of exceptions."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import dns.exception
import dns.resolver
import pycurl
import pytest

from netmon.guard import RefusedAddressError
from netmon.probing import errors
from netmon.probing.errors import FAILURES, OUTCOMES, NoIpv6Error, PingNotPermittedError, ProbeError, explain
from netmon.probing.transfers import TransferError


def os_error(number: int) -> OSError:
    """An error of a system call."""
    return OSError(number, os.strerror(number))


def dns_error(kind: Callable[..., Exception], **arguments: Any) -> Exception:
    """An error of dnspython, whose constructors have no types."""
    return kind(**arguments)


SENTENCES: tuple[tuple[Exception, str, str], ...] = (
    (RefusedAddressError("shop has a private address"), "refused_address", "shop has a private address"),
    (NoIpv6Error("shop has IPv6 addresses only"), "no_ipv6", "shop has IPv6 addresses only"),
    (PingNotPermittedError("not permitted to ping"), "ping_not_permitted", "not permitted to ping"),
    (TimeoutError(), "timeout", "no complete response within 2.5 s"),
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
    (TransferError(pycurl.E_COULDNT_CONNECT, "x", errno.ECONNREFUSED), "connect", "connection refused"),
    (ProbeError("body", "the body lacks a text"), "body", "the body lacks a text"),
)  # fmt: skip


@pytest.mark.parametrize(("failure", "code", "sentence"), SENTENCES, ids=lambda each: type(each).__name__)
def test_a_failure_has_a_code_and_a_sentence(failure: Exception, code: str, sentence: str) -> None:
    assert explain(failure, 2.5) == (code, sentence)


def test_every_kind_of_failure_has_a_sentence() -> None:
    assert {next(kind for kind in FAILURES if isinstance(failure, kind)) for failure, _, _ in SENTENCES} == set(
        FAILURES
    )


@pytest.mark.parametrize("number", sorted(errors.CONNECTION))
def test_a_sentence_names_no_exception(number: int) -> None:
    _, sentence = explain(os_error(number), 1)
    assert not re.search(r"Errno|Error|Exception|\[", sentence)


CLOSED = "the connection was closed before the response was complete"
TRANSFERS = (
    (
        pycurl.E_UNSUPPORTED_PROTOCOL,
        "Received HTTP/0.9 when not allowed",
        0,
        "protocol",
        "the response is not valid HTTP",
    ),
    (
        pycurl.E_PARTIAL_FILE,
        "end of response with 3 bytes missing",
        0,
        "protocol",
        "the response ended before it was complete",
    ),
    (pycurl.E_GOT_NOTHING, "Empty reply from server", 0, "disconnected", CLOSED),
    (
        pycurl.E_RECV_ERROR,
        "Recv failure: Connection reset by peer",
        errno.ECONNRESET,
        "disconnected",
        "the connection was reset",
    ),
    (pycurl.E_RECV_ERROR, "OpenSSL SSL_read: unexpected eof while reading", 0, "disconnected", CLOSED),
    (
        pycurl.E_RECV_ERROR,
        "Too large response headers: 307210 > 307200",
        0,
        "protocol",
        "the header of the response is too large",
    ),
    (
        pycurl.E_RECV_ERROR,
        "chunk hex-length char not a hex digit: 0x7a",
        0,
        "protocol",
        "the chunks of the response are not valid",
    ),
    (
        pycurl.E_RECV_ERROR,
        "OpenSSL SSL_read: OpenSSL/3.6.5: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0",
        0,
        "tls",
        "the target requires a client certificate",
    ),
    (pycurl.E_SSL_CERTPROBLEM, "x", 0, "tls", "the client certificate cannot be used with its key"),
    (pycurl.E_SSL_CACERT_BADFILE, "x", 0, "tls", "the certificate authorities cannot be read"),
    (97, "x", 0, "proxy", "the answer of the proxy is not valid"),
    (pycurl.E_COULDNT_CONNECT, "x", 0, "connect", "the connection failed"),
    (pycurl.E_COULDNT_CONNECT, "x", errno.ENOBUFS, "connect", "no buffer space available"),
    (
        pycurl.E_SSL_CONNECT_ERROR,
        "TLS connect error: error:0A00010B:SSL routines::wrong version number",
        0,
        "tls",
        "the TLS handshake failed: wrong version number",
    ),
    (pycurl.E_SSL_CONNECT_ERROR, "x", errno.ECONNRESET, "tls", "the TLS handshake failed: the connection was reset"),
    (
        pycurl.E_PEER_FAILED_VERIFICATION,
        "SSL certificate OpenSSL verify result: certificate has expired (10)",
        0,
        "tls",
        "the certificate is not valid: it has expired",
    ),
    (
        pycurl.E_PEER_FAILED_VERIFICATION,
        "SSL certificate problem: self-signed certificate",
        0,
        "tls",
        "the certificate is not valid: it is self-signed",
    ),
    (
        pycurl.E_PEER_FAILED_VERIFICATION,
        "SSL: no alternative certificate subject name matches target host name 'a'",
        0,
        "tls",
        "the certificate is not valid: it is for another name",
    ),
    (pycurl.E_PEER_FAILED_VERIFICATION, "x", 0, "tls", "the certificate is not valid: it cannot be verified"),
    (92, "HTTP/2 stream 1 was not closed cleanly", 0, "disconnected", "the target has reset the stream of HTTP/2"),
    (999, "something new", 0, "protocol", "the response is not valid HTTP"),
)


@pytest.mark.parametrize(("code", "message", "number", "outcome", "sentence"), TRANSFERS)
def test_a_failed_transfer_has_a_sentence_that_is_none_of_libcurl(
    code: int, message: str, number: int, outcome: str, sentence: str
) -> None:
    assert explain(TransferError(code, message, number), 1) == (outcome, sentence)
    assert outcome in OUTCOMES


def test_the_status_of_a_proxy_that_opens_no_tunnel_is_in_the_sentence() -> None:
    sentence = "the proxy refused the connection with status 407"
    assert explain(TransferError(pycurl.E_COULDNT_CONNECT, "x", 0, 407), 1) == ("proxy", sentence)


@pytest.mark.parametrize("code", range(1, 101))
def test_no_text_of_libcurl_reaches_people(code: int) -> None:
    outcome, sentence = explain(TransferError(code, "Curl_foo: (0x7f) ^ caret"), 1)
    assert outcome in OUTCOMES
    assert not re.search(r"curl|0x|caret", sentence, re.IGNORECASE)
