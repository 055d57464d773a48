"""Failures of probes: a stable code, few enough for a metric label, and a sentence for people."""

import errno
import os
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import dns.exception
import dns.resolver

from netmon.details import printable
from netmon.guard import RefusedAddressError
from netmon.probing import transfer_errors
from netmon.probing.transfers import TransferError

REFUSED = "refused_address"
NO_IPV6 = "no_ipv6"
NO_PING = "ping_not_permitted"
LOOKUP = "during the lookup of a name"
"""The note of a cancellation that ended a lookup."""
SECRET = "secret"  # noqa: S105 - a code

CONNECTION: Mapping[int, str] = {
    errno.ECONNREFUSED: "connection refused",
    errno.ECONNRESET: "the connection was reset",
    errno.EPIPE: "the connection was closed",
    errno.ECONNABORTED: "the connection was aborted",
    errno.ETIMEDOUT: "no response to the connection request",
    errno.EHOSTUNREACH: "the host is unreachable",
    errno.ENETUNREACH: "the network is unreachable",
    errno.EACCES: "a firewall of this host forbids the connection",
    errno.EPERM: "a firewall of this host forbids the connection",
    errno.EMFILE: "the worker has too many open connections",
}
_LOOKUP: Mapping[int, str] = {
    socket.EAI_NONAME: "the name does not exist",
    socket.EAI_NODATA: "the name has no address",
    socket.EAI_ADDRFAMILY: "the name has no address",
    socket.EAI_AGAIN: "the name server does not answer",
    socket.EAI_FAIL: "the name server reports a failure",
}


class NoIpv6Error(Exception):
    """The target has IPv6 addresses only, to which this host has no route; the message is the sentence."""


class PingNotPermittedError(Exception):
    """The kernel does not permit this process to send pings; the message is the sentence."""


class _Failure(NamedTuple):
    kind: type[Exception]
    code: str
    sentence: Callable[[Any, float], str]
    """From the exception and the timeout of the attempt in seconds."""


def _timeout(failure: Exception, seconds: float) -> str:
    # The context with Python 3.11.2.
    if LOOKUP in getattr(failure.__cause__ or failure.__context__, "__notes__", ()):
        return f"the name server did not answer within {seconds:g} s"
    return f"no complete response within {seconds:g} s"


def _lookup(failure: Exception, _seconds: float) -> str:
    return _LOOKUP.get(getattr(failure, "errno", None) or 0, "the name cannot be resolved")


def _connection(failure: Exception, _seconds: float) -> str:
    error = failure
    number: int | None = getattr(error, "errno", None)
    if number is None:
        # Several addresses failed, whose errors are joined in one text; or a reason of this program.
        numbers = {int(each) for each in re.findall(r"\[Errno (\d+)\]", str(error))}
        known = sorted({CONNECTION[each] for each in numbers if each in CONNECTION})
        return " or ".join(known) or str(error) or "the connection failed"
    return CONNECTION.get(number) or os.strerror(number).lower()


def _own(failure: Exception, _seconds: float) -> str:
    return str(failure)


def _fixed(sentence: str) -> Callable[[Exception, float], str]:
    return lambda _failure, _seconds: sentence


# In this order: the first class that matches decides.
_FAILURES = (
    _Failure(RefusedAddressError, REFUSED, _own),
    _Failure(NoIpv6Error, NO_IPV6, _own),
    _Failure(PingNotPermittedError, NO_PING, _own),
    _Failure(TimeoutError, "timeout", _timeout),
    _Failure(dns.resolver.NXDOMAIN, "no_answer", _fixed("the name does not exist")),
    _Failure(dns.resolver.NoAnswer, "no_answer", _fixed("the name has no record of this type")),
    _Failure(dns.exception.Timeout, "timeout", _fixed("the name server did not answer in time")),
    _Failure(dns.resolver.NoNameservers, "dns", _fixed("no name server gives a valid answer")),
    _Failure(dns.exception.DNSException, "dns", _fixed("the answer of the name server is not valid")),
    _Failure(socket.gaierror, "dns", _lookup),
    _Failure(OSError, "connect", _connection),
    _Failure(ValueError, "protocol", _fixed("the response is not valid")),
)


class ProbeError(Exception):
    """The target answered, but not as expected, or a secret is not usable; the message is the sentence."""

    CODES = (
        "http_status", "header", "body", "json", "size", "http_version", "url", "answer", SECRET, "redirects", "tls",
        "disconnected", "protocol", "proxy", "certificate", "starttls", "grpc_status", "not_serving", "ttl", "dnssec",
        "loss", "jitter",
    )  # fmt: skip

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


FAILURES: tuple[type[Exception], ...] = (ProbeError, TransferError, *(failure.kind for failure in _FAILURES))
"""The exceptions of failed attempts; any other exception is a bug in this program."""

OUTCOMES = tuple(dict.fromkeys(("succeeded", *ProbeError.CODES, *(failure.code for failure in _FAILURES))))
"""All outcomes of probes: success, and the error codes."""


def explain(failure: Exception, timeout_seconds: float) -> tuple[str, str]:
    """The code and the sentence of one of `FAILURES`, of an attempt with this timeout."""
    if isinstance(failure, ProbeError):
        return failure.code, printable(str(failure))
    if isinstance(failure, TransferError):
        code, sentence = transfer_errors.explain(failure, CONNECTION)
        return code, printable(sentence)
    known = next(each for each in _FAILURES if isinstance(failure, each.kind))
    return known.code, printable(known.sentence(failure, timeout_seconds))
