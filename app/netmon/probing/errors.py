"""Errors of probes: stable codes, few enough for a metric label."""

import socket

import aiohttp
import dns.exception
import dns.resolver

from netmon.guard import RefusedAddressError
from netmon.supervision import describe

REFUSED = "refused_address"
MAX_DETAIL = 300

# In this order: the first class that matches determines the code.
_CODES: tuple[tuple[type[Exception], str], ...] = (
    (RefusedAddressError, REFUSED),
    (TimeoutError, "timeout"),
    (aiohttp.TooManyRedirects, "redirects"),
    (aiohttp.ClientSSLError, "tls"),
    (aiohttp.ClientConnectorCertificateError, "tls"),
    (aiohttp.ClientConnectorDNSError, "dns"),
    (aiohttp.ClientConnectorError, "connect"),
    (aiohttp.ClientConnectionError, "disconnected"),
    (aiohttp.ClientError, "protocol"),
    (dns.resolver.NXDOMAIN, "no_answer"),
    (dns.resolver.NoAnswer, "no_answer"),
    (dns.exception.Timeout, "timeout"),
    (dns.exception.DNSException, "dns"),
    (socket.gaierror, "dns"),
    (OSError, "connect"),
    (ValueError, "protocol"),
)


class ProbeError(Exception):
    """The target answered, but not as expected."""

    CODES = ("http_status", "body", "answer")

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


FAILURES: tuple[type[Exception], ...] = (ProbeError, *(kind for kind, _ in _CODES))
"""The exceptions of failed attempts; any other exception is a bug in this program."""

OUTCOMES = tuple(dict.fromkeys(("succeeded", *ProbeError.CODES, *(code for _, code in _CODES))))
"""All outcomes of probes: success, and the error codes."""


def explain(failure: Exception) -> tuple[str, str]:
    """The error code and the detail for one of `FAILURES`."""
    if isinstance(failure, ProbeError):
        return failure.code, printable(str(failure))
    code = next(code for kind, code in _CODES if isinstance(failure, kind))
    return code, printable(str(failure) if code == REFUSED else describe(failure))


def printable(text: str) -> str:
    """One short line without control characters: the text is stored and shown, and may come from the target."""
    return "".join(each if each.isprintable() else "�" for each in text[:MAX_DETAIL])
