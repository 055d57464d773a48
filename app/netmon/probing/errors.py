"""What can go wrong with a probe: stable codes, few enough for the label of a metric."""

import socket

import aiohttp
import dns.exception
import dns.resolver

from netmon.guard import RefusedAddressError
from netmon.supervision import describe

REFUSED = "refused_address"
MAX_DETAIL = 300

# The order matters: the first class that fits names the error.
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
    """The target answered, but not as it should."""

    CODES = ("http_status", "body", "answer")

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


FAILURES: tuple[type[Exception], ...] = (ProbeError, *(kind for kind, _ in _CODES))
"""The exceptions that a failed attempt ends with; any other one is a mistake of this program."""

OUTCOMES = tuple(dict.fromkeys(("succeeded", *ProbeError.CODES, *(code for _, code in _CODES))))
"""What a probe can come to: success, or the code of an error."""


def explain(failure: Exception) -> tuple[str, str]:
    """The code and the detail of one of `FAILURES`."""
    if isinstance(failure, ProbeError):
        return failure.code, printable(str(failure))
    code = next(code for kind, code in _CODES if isinstance(failure, kind))
    return code, printable(str(failure) if code == REFUSED else describe(failure))


def printable(text: str) -> str:
    """One short line without control characters: parts of it may be the target's words, and it is stored and shown."""
    return "".join(each if each.isprintable() else "�" for each in text[:MAX_DETAIL])
